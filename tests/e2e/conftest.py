"""One real stack for all end-to-end tests: other ports, a project folder of its own, state below var/e2e.

``SLIPWAY_E2E_KEEP=1`` leaves it running and takes it up again, for work on the tests themselves. ``SLIPWAY_E2E_PORT``
is the first of its ports.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console

from demo.display import PlainDisplay
from demo.journal import changes, position
from demo.runs import open_airflow
from demo.stack import StackSettings, load_settings, start_stack, stop_stack
from demo.stack.components import no_proxy
from demo.stack.keeper import kept
from demo.stage import Stage
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_http import AirflowHttp
from slipway.cli.airflow_records import Approval, DagRun, TaskInstance
from slipway.errors import UnknownServiceError
from slipway.ledger import Ledger
from slipway.state import StateStore

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "e2e"
FIRST_PORT = int(os.environ.get("SLIPWAY_E2E_PORT", "28310"))
PORTS = {
    "SLIPWAY_AIRFLOW_PORT": str(FIRST_PORT),
    "SLIPWAY_MLFLOW_PORT": str(FIRST_PORT + 10),
    "SLIPWAY_AWS_PORT": str(FIRST_PORT + 20),
}
KEEP = bool(os.environ.get("SLIPWAY_E2E_KEEP"))

SERVICES = {
    "tiny": "approval: {approver_ids: [approver]}",
    "seen": "approval: {approver_ids: [approver]}",
    "unsigned": "approval: {approver_ids: [approver]}",
    "late": "approval: {approver_ids: [approver], timeout_hours: 0.002}",
}


@dataclass
class World:
    """The stack as tests see it: its settings, a person's and an approver's Airflow, what was asked of AWS."""

    settings: StackSettings
    folder: Path = FOLDER

    @cached_property
    def stage(self) -> Stage:
        return Stage(self.settings, PlainDisplay(Console(width=120)))

    @cached_property
    def airflow(self) -> AirflowApi:
        return open_airflow(self.settings)

    @cached_property
    def approver(self) -> AirflowApi:
        return open_airflow(self.settings, "approver")

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.stage.aws("s3"), self.stage.artifact_bucket)

    @property
    def states(self) -> StateStore:
        return StateStore(self.stage.aws("s3"), self.stage.artifact_bucket)

    def state(self, endpoint: str) -> Any:
        return self.states.read(endpoint)[0]

    def endpoints(self) -> set[str]:
        return {each["EndpointName"] for each in self.stage.aws("sagemaker").list_endpoints()["Endpoints"]}

    def position(self) -> int:
        return position(self.settings)

    def changes(self, since: int) -> list[str]:
        return changes(self.settings, since)

    def trigger(self, dag_id: str, **conf: Any) -> DagRun:
        """Starts a run; waits for a DAG that Airflow has yet to read."""
        deadline = time.monotonic() + 120
        while True:
            try:
                return self.airflow.trigger(dag_id, conf)
            except UnknownServiceError:
                assert time.monotonic() < deadline, f"Airflow never read {dag_id}"
                time.sleep(1)

    def mark_failed(self, run: DagRun) -> None:
        """What the page's *Mark Run as failed* does."""
        path = f"/dags/{run.dag_id}/dagRuns/{quote(run.run_id, safe='')}"
        AirflowHttp(self.airflow.settings).send("PATCH", path, json={"state": "failed"})

    def finished(self, run: DagRun, *, seconds: float = 240) -> DagRun:
        """The run at its end."""
        return self.until(lambda: (now := self.airflow.dag_run(run.dag_id, run.run_id)).finished and now, seconds)

    def waiting(self, run: DagRun, *, seconds: float = 240) -> Approval:
        """The question that the run comes to ask."""

        def look() -> Approval | None:
            now = self.airflow.dag_run(run.dag_id, run.run_id)
            assert not now.finished, f"{run.dag_id} ended {now.state} instead of asking: {self.errors(run)}"
            return next((a for a in self.approver.pending_approvals(run.dag_id) if a.run_id == run.run_id), None)

        return self.until(look, seconds)

    def until(self, look: Callable[[], Any], seconds: float) -> Any:
        """The first true answer of ``look``."""
        deadline = time.monotonic() + seconds
        while not (answer := look()):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
            time.sleep(1)
        return answer

    def tasks(self, run: DagRun) -> dict[str, TaskInstance]:
        return {task.task_id: task for task in self.airflow.task_instances(run.dag_id, run.run_id)}

    def errors(self, run: DagRun) -> dict[str, str]:
        """Each failed task's error, as its log tells it."""
        failed = [task for task in self.tasks(run).values() if task.state == "failed"]
        return {task.task_id: self.airflow.task_error(task) or "" for task in failed}

    def declare(self, name: str, more: str = "approval: {approver_ids: [approver]}") -> None:
        """Adds a service to the project folder."""
        declare(self.settings.project, name, more)

    def register(
        self, model: str, *, signature: bool = True, alias: str | None = "candidate", again: bool = False
    ) -> str:
        """Registers a small scikit-learn model, once per name unless asked for another version; returns its version."""
        client = self.stage.mlflow
        found = client.search_model_versions(f"name = '{model}'")
        if found and not again:
            return str(found[0].version)
        version = _log_small_model(model, signature=signature)
        if alias:
            client.set_registered_model_alias(model, alias, version)
        return version


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = no_proxy()
    settings = load_settings(FOLDER / "stack", {**PORTS, "SLIPWAY_PROJECT": str(FOLDER / "project")})
    if not KEEP:
        stop_stack(settings)
        shutil.rmtree(FOLDER, ignore_errors=True)
        settings = load_settings(FOLDER / "stack", {**PORTS, "SLIPWAY_PROJECT": str(FOLDER / "project")})
    _write_project(settings.project)
    if KEEP:
        start_stack(settings, report=lambda part, state: None)
        yield World(settings)
        return
    with kept(settings):
        start_stack(settings, report=lambda part, state: print(f"{part}: {state}"))
        try:
            yield World(settings)
        finally:
            stop_stack(settings)


def _write_project(project: Path) -> None:
    """The repository's own services, and small ones for these tests."""
    shutil.copytree(ROOT / "include", project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("slipway"))
    for name, more in SERVICES.items():
        declare(project, name, more)


def declare(project: Path, name: str, more: str) -> None:
    """Writes the spec of a small service."""
    lines = [
        f"name: {name}",
        f"model: {name}",
        "owner: tests@example.com",
        "stages: {prod: {instance_type: ml.m5.large}}",
        more,
    ]
    (project / "services" / f"{name}.yaml").write_text("\n".join(lines) + "\n")


def _log_small_model(model: str, *, signature: bool) -> str:
    import mlflow
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    from demo.training import requirements

    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["a", "b", "c"])
    fitted = LinearRegression().fit(rows, rows @ [1.0, -2.0, 0.5])
    mlflow.set_experiment("tests")
    with mlflow.start_run():
        logged = mlflow.sklearn.log_model(
            fitted,
            name="model",
            signature=infer_signature(rows, fitted.predict(rows)) if signature else False,
            input_example=rows[:5] if signature else None,
            pip_requirements=requirements(),
        )
    return str(mlflow.register_model(logged.model_uri, model).version)
