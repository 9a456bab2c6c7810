"""Chapter ``launch``: a registered model becomes a live, verified, approved endpoint."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

from demo import flights
from demo.journal import changes, position
from demo.production import Live, compare, describe, is_live, payload, same
from demo.releasing import DEPLOY_SECONDS, deploy_and_approve, trigger_deploy, woke_promotion
from demo.runs import follow, open_airflow, step_seconds, wait_for_run
from demo.samples import write_samples
from demo.stage import Stage, expect
from demo.traffic import live_traffic
from demo.training import Recipe, Registered, train_and_register
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import DagRun
from slipway.spec import ServiceSpec, load_services

TITLE = "Launch: a registered model becomes a live, verified, approved endpoint"
TEXT = "Real flights of 2013, a scikit-learn model, a daemonless image build, and somebody who says yes."

SERVICE = "flights"
ROWS = 1000
_PROMOTE_SECONDS = 900.0


def play(stage: Stage) -> dict[str, Any]:
    """Trains, deploys, approves, promotes, calls, and deploys again; returns what was read back."""
    spec = load_services(stage.settings.project).specs[SERVICE]
    airflow = open_airflow(stage.settings)
    registered, train_seconds = _train(stage)
    deploy, promote = _launch(stage, airflow, spec)
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


def _launch(stage: Stage, airflow: AirflowApi, spec: ServiceSpec) -> tuple[DagRun, DagRun | None]:
    """Deploy with its approval, and the promotion that it wakes (none when the release is the champion already)."""
    began = datetime.now(UTC)
    with stage.display.step(f"{SERVICE}.deploy, triggered over Airflow's REST API") as step:
        run = deploy_and_approve(stage, airflow, SERVICE, "first launch", step)
    if not woke_promotion(airflow, run):
        return run, None
    rows = flights.months(flights.load_flights(), 4, 4)[flights.FEATURES].sample(ROWS, random_state=0)
    with contextlib.ExitStack() as stack, stage.display.step(f"{SERVICE}.promote, woken by the asset") as step:
        promote = wait_for_run(airflow, f"{SERVICE}.promote", since=began, seconds=60)
        if is_live(stage, spec.endpoint_name("prod")):
            # Played before: another version has the traffic, so this one has to pass a canary, which needs users.
            stack.enter_context(live_traffic(stage, spec.endpoint_name("prod"), rows))
        promote = follow(airflow, promote, step, seconds=_PROMOTE_SECONDS)
    return run, promote


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
        run = trigger_deploy(airflow, SERVICE, "the same again")
        run = follow(airflow, run, step, seconds=DEPLOY_SECONDS, until_waiting=True)
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
