"""Chapter ``launch``: a registered model becomes a live, verified, approved endpoint."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from demo import flights
from demo.display import Step
from demo.errors import ChapterFailedError
from demo.journal import changes, position
from demo.production import Live, compare, describe, payload, same
from demo.runs import follow, open_airflow, step_seconds, wait_for_run
from demo.samples import write_samples
from demo.stage import Stage, expect
from demo.training import Recipe, Registered, train_and_register
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import DagRun
from slipway.errors import UnknownServiceError
from slipway.spec import ServiceSpec, load_services

TITLE = "Launch: a registered model becomes a live, verified, approved endpoint"
TEXT = "Real flights of 2013, a scikit-learn model, a daemonless image build, and somebody who says yes."

SERVICE = "flights"
ROWS = 1000
_DEPLOY_SECONDS = 420.0
_PROMOTE_SECONDS = 300.0
_PARSE_SECONDS = 90.0


def play(stage: Stage) -> dict[str, Any]:
    """Trains, deploys, approves, promotes, calls, and deploys again; returns what was read back."""
    spec = load_services(stage.settings.project).specs[SERVICE]
    airflow = open_airflow(stage.settings)
    registered, train_seconds = _train(stage)
    deploy, promote = _launch(stage, airflow)
    seconds = {"train": train_seconds, **_task_seconds(airflow, "deploy", deploy)}
    if promote is not None:
        seconds.update(_task_seconds(airflow, "promote", promote))
    called = _call(stage, spec, registered)
    return {
        "service": SERVICE,
        **called,
        "model_version": registered.version,
        "step_seconds": seconds,
        **_deploy_again(stage, airflow),
    }


def _train(stage: Stage) -> tuple[Registered, float]:
    began = time.monotonic()
    with stage.display.step("Training on January to March and registering in MLflow") as step:
        registered = train_and_register(stage, Recipe(first_month=1, last_month=3), alias="candidate")
        source = "registered before" if registered.reused else "registered"
        step.note(f"version {registered.version} {source}, area under ROC {registered.metrics['areaUnderROC']:.3f}")
    return registered, round(time.monotonic() - began, 1)


def _launch(stage: Stage, airflow: AirflowApi) -> tuple[DagRun, DagRun | None]:
    """Deploy with its approval, and the promotion that it wakes (none when the release is the champion already)."""
    began = datetime.now(UTC)
    with stage.display.step(f"{SERVICE}.deploy, triggered over Airflow's REST API") as step:
        _reject_waiting(stage, airflow)
        run = _trigger(airflow, {"model_version": "candidate", "reason": "first launch"})
        waiting = follow(airflow, run, step, seconds=_DEPLOY_SECONDS, until_waiting=True)
        if not waiting.finished:
            _approve(stage, run, step)
            follow(airflow, run, step, seconds=_DEPLOY_SECONDS)
    states = {task.task_id: task.state for task in airflow.task_instances(run.dag_id, run.run_id)}
    if states.get("announce") == "skipped":
        return run, None
    with stage.display.step(f"{SERVICE}.promote, woken by the asset") as step:
        promote = wait_for_run(airflow, f"{SERVICE}.promote", since=began, seconds=60)
        promote = follow(airflow, promote, step, seconds=_PROMOTE_SECONDS)
    return run, promote


def _reject_waiting(stage: Stage, airflow: AirflowApi) -> None:
    """A run that an earlier play left waiting for its approval would keep this one queued: its release is rejected."""
    approver = open_airflow(stage.settings, "approver")
    for approval in approver.pending_approvals(f"{SERVICE}.deploy"):
        form = {"reason": "left waiting; the demo is played again"} if "reason" in approval.fields else {}
        approver.answer_approval(approval, "Reject", form)
        deadline = time.monotonic() + _PARSE_SECONDS
        while not airflow.dag_run(approval.dag_id, approval.run_id).finished and time.monotonic() < deadline:
            time.sleep(1)


def _trigger(airflow: AirflowApi, conf: dict[str, Any]) -> DagRun:
    """Starts the deploy; waits for the DAG when Airflow has just begun to read it."""
    deadline = time.monotonic() + _PARSE_SECONDS
    while True:
        try:
            return airflow.trigger(f"{SERVICE}.deploy", conf)
        except UnknownServiceError as error:
            if time.monotonic() > deadline:
                raise ChapterFailedError(str(error)) from error
            time.sleep(1)


def _approve(stage: Stage, run: DagRun, step: Step) -> None:
    """Answers as the approver, over REST."""
    approver = open_airflow(stage.settings, "approver")
    for approval in approver.pending_approvals(run.dag_id):
        if approval.run_id == run.run_id:
            step.note(f"the approver reads the report and says yes: {approval.subject}")
            approver.answer_approval(approval, "Approve", {"reason": "the demo's approver has read the report"})
            return
    raise ChapterFailedError(f"{run.dag_id} waits for a person, but nothing is there to answer.")


def _call(stage: Stage, spec: ServiceSpec, registered: Registered) -> dict[str, Any]:
    """Reads the endpoint back, compares its answers, tries the samples."""
    endpoint = spec.endpoint_name("prod")
    with stage.display.step(f"Calling {endpoint} with {ROWS:,} April flights, by plain boto3") as step:
        live = describe(stage, SERVICE, endpoint)
        expect(live.status == "InService", f"endpoint {endpoint} is {live.status}, not InService.")
        expect(
            live.release.version == registered.version,
            f"endpoint {endpoint} serves version {live.release.version}, not {registered.version}.",
        )
        april = flights.months(flights.load_flights(), 4, 4)
        rows = april[flights.FEATURES].sample(ROWS, random_state=0)
        compared = compare(stage, endpoint, registered.version, rows)
        expect(compared.rows == ROWS, f"{compared.rows} of {ROWS} rows were answered.")
        expect(
            not compared.mismatches,
            f"{len(compared.mismatches)} of {ROWS} answers differ; the first: {compared.mismatches[:1]}",
        )
        step.note(f"all {compared.rows} answers are the model's own")
    _show_samples(stage, endpoint, live, payload(rows[:3]))
    return {
        "release": live.release.id,
        "image_digest": live.image_digest,
        "endpoint_arn": live.arn,
        "endpoint_status": live.status,
        "rows_compared": compared.rows,
        "mismatches": len(compared.mismatches),
    }


def _show_samples(stage: Stage, endpoint: str, live: Live, rows: dict[str, Any]) -> None:
    samples = write_samples(stage.settings, endpoint, rows)
    with stage.display.step("Trying the samples below") as step:
        answers = [sample.run() for sample in samples]
        expect(all(same(answer, answers[0]) for answer in answers), f"the samples answer different things: {answers}.")
        step.note(", ".join(sample.name for sample in samples))
    blocks = [f"`{sample.path}`\n\n```\n{sample.text}```" for sample in samples]
    links = [
        f"Release `{live.release.id}`, image `{live.image_digest}`",
        f"- Airflow: {stage.settings.airflow_url}/dags/{SERVICE}.deploy (admin / admin)",
        f"- MLflow: {stage.settings.mlflow_url}/#/models/{live.release.model}",
    ]
    stage.display.page("Call it yourself while the stack is up (KEEP=1)", "\n\n".join([*blocks, "\n".join(links)]))


def _deploy_again(stage: Stage, airflow: AirflowApi) -> dict[str, Any]:
    """A second deploy of the same model: proved by the stand-in's journal to change nothing."""
    began, since = datetime.now(UTC), position(stage.settings)
    with stage.display.step(f"{SERVICE}.deploy once more: nothing may change") as step:
        run = _trigger(airflow, {"model_version": "candidate", "reason": "the same again"})
        run = follow(airflow, run, step, seconds=_DEPLOY_SECONDS, until_waiting=True)
        expect(run.finished, "the second deploy asks for approval again, though its release is the champion.")
        changed = changes(stage.settings, since)
        expect(not changed, f"the second deploy changed something: {', '.join(changed[:5])}")
        expect(
            not [each for each in airflow.dag_runs(f"{SERVICE}.promote") if each.run_after >= began],
            f"the second deploy woke {SERVICE}.promote, though there is nothing to promote.",
        )
        step.note("no Create, Update, Put or Delete, no blob byte")
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at and run.started_at else 0.0
    return {"rerun_changed": changed, "rerun_seconds": round(seconds, 1)}


def _task_seconds(airflow: AirflowApi, kind: str, run: DagRun) -> dict[str, float]:
    return {f"{kind}.{task}": seconds for task, seconds in step_seconds(airflow, run).items()}
