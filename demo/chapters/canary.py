"""Chapter ``canary``: a good release is promoted under live traffic, a broken one is caught and rolled back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from demo import flights
from demo.display import Step
from demo.errors import ChapterFailedError
from demo.releasing import deploy_and_approve, woke_promotion
from demo.runs import failure, open_airflow, task_lines, wait_for_run
from demo.stage import Stage, expect
from demo.traffic import PER_SECOND, Answer, Traffic, live_traffic
from demo.training import BROKEN, Recipe, find_registered, train_and_register
from slipway.ledger import Ledger, LedgerRecord
from slipway.spec import ServiceSpec, load_services
from slipway.state import EndpointState, StateStore

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

    from slipway.cli.airflow_api import AirflowApi
    from slipway.cli.airflow_records import DagRun

TITLE = "Canary: promoted under live traffic, and taken back when it is worse"
TEXT = "One version has learnt from more months; the next one knows only three airlines and refuses all others."

SERVICE = "flights"
_PROMOTE_SECONDS = 900.0
_BAR_WIDTH = 24


@dataclass(frozen=True)
class Played:
    """One promotion under traffic, as seen from outside and as the ledger tells it."""

    run: DagRun
    release: str
    answers: list[Answer]
    records: list[LedgerRecord]

    @property
    def looks(self) -> list[LedgerRecord]:
        """The judge's looks, oldest first."""
        return sorted((each for each in self.records if each.action == "looked"), key=lambda each: each.at)

    @property
    def verdicts(self) -> list[str]:
        """Verdict of each look."""
        return [str(look.detail["verdict"]) for look in self.looks]


def play(stage: Stage) -> dict[str, Any]:
    """Promotes a good release and a broken one; returns what was read back."""
    spec = load_services(stage.settings.project).specs[SERVICE]
    airflow = open_airflow(stage.settings)
    rows = flights.months(flights.load_flights(), 7, 7)[flights.FEATURES].sample(1000, random_state=0)
    good = _promote(stage, airflow, spec, rows, _good_recipe(stage, spec))
    result = {"good": _report_good(stage, spec, good)}
    before = _state(stage, spec)
    bad = _promote(stage, airflow, spec, rows, Recipe(first_month=1, last_month=6, carriers=BROKEN))
    result["bad"] = _report_bad(stage, spec, bad, before)
    return result


def _good_recipe(stage: Stage, spec: ServiceSpec) -> Recipe:
    """More months than the launch's; played again, when those have the traffic already, the launch's own."""
    champion = _state(stage, spec).champion
    more = Recipe(first_month=1, last_month=6)
    registered = find_registered(stage, more)
    if registered and champion and registered.version == champion.model_version:
        return Recipe(first_month=1, last_month=3)
    return more


def _promote(stage: Stage, airflow: AirflowApi, spec: ServiceSpec, rows: pd.DataFrame, recipe: Recipe) -> Played:
    began = datetime.now(UTC)
    with stage.display.step(f"Training, registering and deploying: {recipe.text}") as step:
        registered = train_and_register(stage, recipe, alias="candidate")
        step.note(f"version {registered.version}")
        deploy = deploy_and_approve(stage, airflow, SERVICE, recipe.text, step)
    if not woke_promotion(airflow, deploy):
        raise ChapterFailedError(f"version {registered.version} is the champion already; `make down` and play again.")
    endpoint = spec.endpoint_name("prod")
    with (
        stage.display.step(f"{SERVICE}.promote under {PER_SECOND:.0f} requests a second") as step,
        live_traffic(stage, endpoint, rows) as traffic,
    ):
        run = wait_for_run(airflow, f"{SERVICE}.promote", since=began, seconds=60)
        run = _watch(stage, airflow, run, endpoint, traffic, step)
        time.sleep(2)  # what users see afterwards belongs to the story
    records = [each for each in _ledger(stage).read(SERVICE) if each.run_id == run.run_id]
    release = next(str(each.subject).rpartition(" ")[2] for each in records if each.action == "began")
    return Played(run, release, list(traffic.answers), records)


def _watch(stage: Stage, airflow: AirflowApi, run: DagRun, endpoint: str, traffic: Traffic, step: Step) -> DagRun:
    """Shows weights, answers and verdicts until the run has ended, well or not."""
    deadline = time.monotonic() + _PROMOTE_SECONDS
    store = StateStore(stage.aws("s3"), stage.artifact_bucket)
    while time.monotonic() < deadline:
        run = airflow.dag_run(run.dag_id, run.run_id)
        tasks = airflow.task_instances(run.dag_id, run.run_id)
        step.tasks(task_lines(tasks))
        state, _ = store.read(endpoint)
        step.note(_picture(state, traffic))
        if run.finished:
            return run
        time.sleep(1)
    raise ChapterFailedError(f"{run.dag_id} did not end within {_PROMOTE_SECONDS:.0f} s: {failure(airflow, tasks)}.")


def _picture(state: EndpointState | None, traffic: Traffic) -> str:
    """A bar of the challenger's share, and the latest verdict."""
    promotion = state.promotion if state else None
    # Whole hundreds: a log gets a line for each change, and the count alone is none worth a line.
    answered = f"{len(traffic.answers) // 100 * 100:,}+ requests answered"
    if promotion is None:
        return answered
    share = traffic.shares().get(promotion.release_id, 0.0)
    filled = round(share * _BAR_WIDTH)
    step = promotion.steps[-1] if promotion.steps else None
    said = "preparing"
    if step:
        looks = "1 look" if step.looks == 1 else f"{step.looks} looks"
        said = f"step {step.number}, {step.weight_pct:g} %: {step.verdict} after {looks}"
    bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
    return f"{bar} {share:.0%} challenger · {said} · {answered}"


def _report_good(stage: Stage, spec: ServiceSpec, played: Played) -> dict[str, Any]:
    state = _state(stage, spec)
    promoted = state.champion is not None and state.champion.release_id == played.release
    failed = [answer for answer in played.answers if answer.error]
    expect(played.run.state == "success" and promoted, f"the good release was not promoted: {played.verdicts}")
    expect(not failed, f"{len(failed)} requests failed while the good release was promoted: {failed[:1]}")
    return {
        "promoted": promoted,
        "requests": len(played.answers),
        "failed_requests": len(failed),
        "verdicts": played.verdicts,
    }


def _report_bad(stage: Stage, spec: ServiceSpec, played: Played, before: EndpointState) -> dict[str, Any]:
    state, endpoint = _state(stage, spec), spec.endpoint_name("prod")
    serving = stage.aws("sagemaker").describe_endpoint(EndpointName=endpoint)
    wanted = before.champion.config_name if before.champion else None
    rolled_back = any(each.action == "rolled_back" for each in played.records)
    expect(played.run.state == "failed" and rolled_back, f"the broken release was not rolled back: {played.verdicts}")
    expect(state.champion == before.champion, "another release is the champion after the rollback.")
    config = serving["EndpointConfigName"]
    expect(config == wanted, f"the endpoint is on {config}, not on {wanted} as before.")
    failed_at = next(look.at.timestamp() for look in played.looks if look.detail["verdict"] == "FAIL")
    back_at = next(_traffic_back_at(each) for each in played.records if each.action == "rolled_back")
    after = [each for each in played.answers if each.error and each.sent > back_at]
    expect(not after, f"{len(after)} requests failed after the rollback: {after[:1]}")
    return {
        "rolled_back": rolled_back,
        "restored_config": config,
        "requests": len(played.answers),
        "failed_requests": sum(1 for each in played.answers if each.error),
        "failed_requests_after_rollback": len(after),
        "verdicts": played.verdicts,
        "seconds_to_rollback": round(back_at - failed_at, 1),
    }


def _traffic_back_at(record: LedgerRecord) -> float:
    return datetime.fromisoformat(record.detail["traffic_back_at"]).timestamp()


def _state(stage: Stage, spec: ServiceSpec) -> EndpointState:
    state, _ = StateStore(stage.aws("s3"), stage.artifact_bucket).read(spec.endpoint_name("prod"))
    if state is None:
        raise ChapterFailedError(f"{SERVICE} has no champion yet; play launch first: CHAPTERS=launch,canary.")
    return state


def _ledger(stage: Stage) -> Ledger:
    return Ledger(stage.aws("s3"), stage.artifact_bucket)
