"""The DAG files as Airflow reads them, with the project's own services and with a project made for the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).resolve().parents[3]
DAGS = ROOT / "dags"

DAG_FILES = {"deploy.py", "housekeeping.py", "monitor.py", "promote.py", "retrain.py", "rollback.py", "undeploy.py"}
"""A file that is added has to be listed here, so that no stray file becomes a DAG file unseen."""

SERVICE = "name: {name}\nmodel: {name}-model\nowner: {owner}\n"
PLATFORM = "execution_role: slipway-endpoint\nbase_images: {'3.11': scratch}\n"


@pytest.fixture(scope="session")
def bag() -> DagBag:
    """All DAGs of the project."""
    return DagBag(dag_folder=str(DAGS))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with two good services."""
    (tmp_path / "services").mkdir()
    (tmp_path / "platform.yaml").write_text(PLATFORM)
    for name in ("churn", "fraud"):
        (tmp_path / "services" / f"{name}.yaml").write_text(SERVICE.format(name=name, owner=f"{name}@example.com"))
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    return tmp_path


@pytest.fixture
def read_dags() -> Callable[[], DagBag]:
    """Read the DAG files now, with the project folder of the moment."""
    return lambda: DagBag(dag_folder=str(DAGS))


def dags_of(*services: str) -> set[str]:
    """The ids of all DAGs of these services, none of which is retrained, and of the one for all services."""
    kinds = {Path(file).stem for file in DAG_FILES - {"housekeeping.py", "retrain.py"}}
    return {"slipway.housekeeping", *(f"{service}.{kind}" for service in services for kind in kinds)}
