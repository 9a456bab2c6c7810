"""An Airflow of the tests' own. It has to be in the environment before anything imports airflow."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _give_airflow_a_home() -> None:
    for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AWS_"))]:
        del os.environ[name]
    home = tempfile.mkdtemp(prefix="slipway-airflow-")
    atexit.register(_remove, home, os.getpid())
    os.environ.update(
        {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
    )


def _remove(home: str, owner: int) -> None:
    """Remove the home at the end of the process that made it; forked ones come here too."""
    if os.getpid() == owner:
        shutil.rmtree(home, ignore_errors=True)


_give_airflow_a_home()
# Airflow puts the DAG folder on the path when it parses or runs a file of it.
sys.path.append(str(ROOT / "dags"))


@pytest.fixture(scope="session", autouse=True)
def _botocore_models_read_once() -> Iterator[None]:
    """Every boto3 session reads its services' models anew, a tenth of a second each; here all share them."""
    import botocore.session
    from botocore.loaders import Loader

    shared: dict[str | None, Loader] = {}
    create = botocore.session.create_loader

    def create_once(search_path_string: str | None = None) -> Loader:
        return shared.setdefault(search_path_string, create(search_path_string))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", create_once)
        yield


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of an MLflow server that nothing was registered in. Making one takes seconds, so tests copy it."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def mlflow_uri(empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An MLflow registry of the test's own, also behind the connection ``mlflow_default``."""
    uri = f"sqlite:///{shutil.copy(empty_mlflow, tmp_path / 'mlflow.db')}"
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "http", "host": uri}))
    return uri
