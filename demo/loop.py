"""Drift closes the loop: what the monitor set off by itself is followed to the new champion, and read back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo import flights
from demo.releasing import approve_when_asked
from demo.runs import failure, follow, wait_for_run
from demo.stage import Stage, expect
from demo.traffic import live_traffic
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import DagRun
from slipway.drift.status import Status, decide
from slipway.drift.store import DriftStore
from slipway.spec import ServiceSpec
from slipway.state import EndpointState, StateStore

PARENT_TAG = "slipway.parent_version"
_WAKE_SECONDS = 60.0
_RETRAIN_SECONDS = 420.0
_PROMOTE_SECONDS = 900.0


@dataclass(frozen=True)
class Loop:
    """What came of the drift.

    Args:
        closed: Whether the endpoint's traffic goes to the version that the retraining registered.
        retrainings: How many retrainings the drift set off.
        version: The version that is the champion now.
        before: The champion that had drifted away from its traffic.
    """

    closed: bool
    retrainings: int
    version: int
    before: int

    def summary(self) -> dict[str, Any]:
        """For ``summary.json``."""
        return {"loop_closed": self.closed, "retrainings": self.retrainings, "champion_version": self.version}


def state_of(stage: Stage, spec: ServiceSpec) -> EndpointState:
    """The state of the production endpoint, which has a champion."""
    state, _ = StateStore(stage.aws("s3"), stage.artifact_bucket).read(spec.endpoint_name("prod"))
    expect(state is not None and state.champion is not None, f"{spec.name} has no champion; play launch first.")
    assert state is not None
    return state


def retrained_champion(stage: Stage, spec: ServiceSpec) -> int | None:
    """The champion's version when a retraining made it, else None."""
    champion = state_of(stage, spec).champion
    assert champion is not None
    version = stage.mlflow.get_model_version(spec.model, str(champion.model_version))
    return champion.model_version if PARENT_TAG in version.tags else None


def held_back(store: DriftStore, spec: ServiceSpec, began: datetime) -> str:
    """Why this drift may set off no retraining: one of an earlier play was lately enough; empty when it may.

    Args:
        store: The monitor's documents.
        spec: The service.
        began: Before the window with the drift was judged.
    """
    state = store.state()
    if not state.retrains or state.retrains[-1] >= began or state.looked_until is None:
        return ""
    decision = decide(Status.DRIFTED, state.columns, state.looked_until, state, spec.monitor)
    return "" if decision.retrain else decision.reason


def follow_loop(
    stage: Stage, airflow: AirflowApi, spec: ServiceSpec, store: DriftStore, began: datetime, month: int
) -> Loop:
    """Follows retrain, deploy and promote, none of which anybody triggers; a person only says yes.

    Args:
        stage: The running stack.
        airflow: Airflow's API.
        spec: The service.
        store: The monitor's documents.
        began: Before the window with the drift was judged; older runs do not count.
        month: Its flights are the users' while the new release is promoted.
    """
    before = state_of(stage, spec).champion
    assert before is not None
    retrain = _woken(airflow, spec, "retrain", began)
    with stage.display.step(f"{retrain.dag_id}, woken by the drift") as step:
        follow(airflow, retrain, step, seconds=_RETRAIN_SECONDS)
        states = {task.task_id: task.state for task in airflow.task_instances(retrain.dag_id, retrain.run_id)}
        tasks = airflow.task_instances(retrain.dag_id, retrain.run_id)
        expect(
            states.get("register") == "success", f"the retrained model was not registered: {failure(airflow, tasks)}"
        )
    deploy = _woken(airflow, spec, "deploy", began)
    with stage.display.step(f"{deploy.dag_id}, woken by the candidate") as step:
        approve_when_asked(stage, airflow, deploy, step)
    promote = _woken(airflow, spec, "promote", began)
    rows = flights.months(flights.load_flights(), month, month)[flights.FEATURES].sample(1000, random_state=0)
    with (
        stage.display.step(f"{promote.dag_id}, woken by the approval, under traffic") as step,
        live_traffic(stage, spec.endpoint_name("prod"), rows),
    ):
        follow(airflow, promote, step, seconds=_PROMOTE_SECONDS)
    return _read_back(stage, airflow, spec, store, began, before.model_version)


def _woken(airflow: AirflowApi, spec: ServiceSpec, kind: str, began: datetime) -> DagRun:
    run = wait_for_run(airflow, f"{spec.name}.{kind}", since=began, seconds=_WAKE_SECONDS)
    expect(run.run_type == "asset_triggered", f"{run.dag_id} was started by {run.run_type}, not by an asset.")
    return run


def _read_back(
    stage: Stage, airflow: AirflowApi, spec: ServiceSpec, store: DriftStore, began: datetime, before: int
) -> Loop:
    """What the running system says: the champion, its version in MLflow, and how often it was trained."""
    champion = state_of(stage, spec).champion
    assert champion is not None
    candidate = stage.mlflow.get_model_version_by_alias(spec.model, "candidate")
    endpoint = stage.aws("sagemaker").describe_endpoint(EndpointName=spec.endpoint_name("prod"))
    runs = [run for run in airflow.dag_runs(f"{spec.name}.retrain") if run.run_after >= began]
    asked = [at for at in store.state().retrains if at >= began]
    serves = endpoint["EndpointConfigName"] == champion.config_name and endpoint["EndpointStatus"] == "InService"
    baseline = store.reference(champion.release_id, spec.model, champion.model_version)
    learnt = baseline.origin.get("source") if baseline else None
    expect(learnt == "training", f"version {champion.model_version} brought no baseline of its own ({learnt}).")
    closed = champion.model_version == int(candidate.version) != before and serves
    expect(closed, f"version {candidate.version} was retrained, but version {champion.model_version} has the traffic.")
    expect(len(runs) == len(asked) == 1, f"{len(asked)} retrainings were asked for and {len(runs)} ran, not one.")
    return Loop(closed, len(runs), champion.model_version, before)
