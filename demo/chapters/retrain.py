"""Chapter ``retrain``: a month of flights lands in S3, a Spark pipeline learns from it and goes live without a JVM."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from demo import lake
from demo.display import Step
from demo.errors import ChapterFailedError
from demo.image import jvm_files
from demo.production import describe
from demo.releasing import approve_when_asked, trigger, woke_promotion
from demo.runs import failure, follow, open_airflow, task_lines, wait_for_run
from demo.stage import Stage, expect
from slipway.spec import ServiceSpec, load_services
from slipway.state import StateStore
from slipway.training.store import RetrainStore

if TYPE_CHECKING:
    from slipway.cli.airflow_api import AirflowApi
    from slipway.cli.airflow_records import DagRun

TITLE = "Retrain: a month lands in S3, and only what is better goes on"
TEXT = "A PySpark pipeline, trained on January and February, learns from March; a dirty file is set aside in passing."

SERVICE = "flights-spark"
PREFIX = "flights-spark/"
_FIRST_REASON = "first version"
_RETRAIN_SECONDS = 600.0
_PROMOTE_SECONDS = 300.0
_DEFER_SECONDS = 90.0


def play(stage: Stage) -> dict[str, Any]:
    """Has a first version made, drops March, and follows it into production; returns what was read back."""
    spec = load_services(stage.settings.project).specs[SERVICE]
    airflow = open_airflow(stage.settings)
    before = _alias(stage, spec, "champion") or _first_champion(stage, airflow, spec)
    began = datetime.now(UTC)
    dirty_key = _retrain(stage, airflow, spec)
    version = _alias(stage, spec, "candidate")
    result = _read_back(stage, spec, before, version, dirty_key)
    _deploy(stage, airflow, spec, began)
    live = describe(stage, SERVICE, spec.endpoint_name("prod"))
    state, _ = StateStore(stage.aws("s3"), stage.artifact_bucket).read(spec.endpoint_name("prod"))
    champion = state.champion.model_version if state and state.champion else None
    expect(champion == version, f"the champion in production is version {champion}, not {version}.")
    expect(_alias(stage, spec, "champion") == version, "MLflow's alias champion does not follow.")
    with stage.display.step("Looking through every layer of the image in production for a JVM") as step:
        found = jvm_files(stage, live.release)
        expect(not found, f"the image holds {found[:3]}")
        step.note(f"engine {live.release.created_from.get('engine')}, no Java, no Spark")
    return {
        "service": SERVICE,
        "champion_before": before,
        "champion_after": champion,
        **result,
        "jvm_in_image": bool(found),
    }


def set_off(stage: Stage) -> None:
    """Has the first version trained while other chapters play, so that nobody waits for it when its turn comes."""
    spec = load_services(stage.settings.project).specs[SERVICE]
    if _alias(stage, spec, "champion") is None:
        with stage.display.step(f"Meanwhile {SERVICE}.retrain makes its first version from January and February"):
            _train_first(stage, open_airflow(stage.settings), spec)


def _train_first(stage: Stage, airflow: AirflowApi, spec: ServiceSpec) -> DagRun:
    """The run that trains the template on January and February: the one that was set off, or a new one."""
    dag_id = f"{SERVICE}.retrain"
    for run in airflow.dag_runs(dag_id, limit=1):
        if run.conf.get("reason") == _FIRST_REASON and run.state != "failed":
            return run
    lake.land(stage, {f"2013-{month:02}.parquet": lake.rows_of(month) for month in (1, 2)}, prefix=PREFIX)
    time.sleep(spec.retrain.data.settle_seconds if spec.retrain else 0)
    return trigger(airflow, dag_id, {"reason": _FIRST_REASON, "overrides": {"deploy": "manual"}})


def _first_champion(stage: Stage, airflow: AirflowApi, spec: ServiceSpec) -> int:
    """January and February train the template; without a champion to beat the gate holds, and a person says yes."""
    with stage.display.step(f"{SERVICE}.retrain makes the first version from January and February") as step:
        follow(airflow, _train_first(stage, airflow, spec), step, seconds=_RETRAIN_SECONDS)
        held = _latest(stage, spec)
        expect(
            held.tags.get("slipway.gate") == "hold", f"the first version is {held.tags.get('slipway.gate')}, not held."
        )
        stage.mlflow.set_registered_model_alias(spec.model, "champion", str(held.version))
        step.note(f"version {held.version}, held by the gate and made champion by hand")
    return int(held.version)


def _retrain(stage: Stage, airflow: AirflowApi, spec: ServiceSpec) -> str:
    """The sensor waits without a worker; March and a dirty file land; the run goes on. Returns the dirty file's key."""
    with stage.display.step(f"{SERVICE}.retrain waits for new data; March lands, and a dirty file") as step:
        run = trigger(airflow, f"{SERVICE}.retrain", {"reason": "March", "overrides": {"wait_for_data": True}})
        _until_deferred(airflow, run, step)
        march = lake.rows_of(3)
        landed = {"2013-03-late.parquet": lake.dirty(march), "2013-03.parquet": march}
        key = lake.land(stage, landed, prefix=PREFIX)[0]
        follow(airflow, run, step, seconds=_RETRAIN_SECONDS)
        states = {task.task_id: task.state for task in airflow.task_instances(run.dag_id, run.run_id)}
        expect(states.get("register") == "success", f"no candidate was registered: {states}; {_gate(stage, spec)}")
        step.note(_gate(stage, spec))
    return key


def _until_deferred(airflow: AirflowApi, run: DagRun, step: Step) -> None:
    deadline = time.monotonic() + _DEFER_SECONDS
    while time.monotonic() < deadline:
        tasks = airflow.task_instances(run.dag_id, run.run_id)
        step.tasks(task_lines(tasks))
        state = next((task.state for task in tasks if task.task_id == "await_data"), None)
        if state == "deferred":
            return
        if state in {"success", "failed", "skipped"}:
            raise ChapterFailedError(f"await_data is {state} before any data landed: {failure(airflow, tasks)}")
        time.sleep(0.5)
    raise ChapterFailedError(f"await_data did not begin to wait within {_DEFER_SECONDS:.0f} s.")


def _deploy(stage: Stage, airflow: AirflowApi, spec: ServiceSpec, began: datetime) -> None:
    with stage.display.step(f"{SERVICE}.deploy, woken by the candidate") as step:
        deploy = wait_for_run(airflow, f"{SERVICE}.deploy", since=began, seconds=60)
        deploy = approve_when_asked(stage, airflow, deploy, step)
        expect(woke_promotion(airflow, deploy), "the deploy had nothing to promote.")
    with stage.display.step(f"{SERVICE}.promote, woken by the approval") as step:
        promote = wait_for_run(airflow, f"{SERVICE}.promote", since=began, seconds=60)
        follow(airflow, promote, step, seconds=_PROMOTE_SECONDS)


def _read_back(stage: Stage, spec: ServiceSpec, before: int, version: int | None, dirty_key: str) -> dict[str, Any]:
    """What MLflow and the artifact bucket say about the retraining."""
    expect(version is not None and version != before, f"the candidate is version {version}, the champion {before}.")
    found = stage.mlflow.get_model_version(spec.model, str(version))
    expect(found.tags["slipway.parent_version"] == str(before), "the candidate was not made from the champion.")
    quarantined = sorted(RetrainStore(stage.aws("s3"), stage.artifact_bucket, SERVICE).watermark().quarantined)
    expect(quarantined == [dirty_key], f"in quarantine: {quarantined}, expected {dirty_key} alone.")
    metrics = stage.mlflow.get_run(str(found.run_id)).data.metrics
    return {
        "gate_verdict": found.tags["slipway.gate"],
        "quarantined": quarantined,
        "rows_trained": int(metrics["rows.train"]),
    }


def _alias(stage: Stage, spec: ServiceSpec, alias: str) -> int | None:
    """The version under an alias; None when there is no model or no such alias."""
    from mlflow.exceptions import MlflowException

    try:
        version = stage.mlflow.get_registered_model(spec.model).aliases.get(alias)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return int(version) if version else None


def _latest(stage: Stage, spec: ServiceSpec) -> Any:
    found = stage.mlflow.search_model_versions(f"name = '{spec.model}'")
    return max(found, key=lambda each: int(each.version))


def _gate(stage: Stage, spec: ServiceSpec) -> str:
    tags = _latest(stage, spec).tags
    return f"{tags.get('slipway.gate')}: {tags.get('slipway.gate_reason')}"
