"""A service under continuous load: launched, promoted while Airflow dies, rolled back by hand and by the judge.

The tests are one story and run in this order. Users never see an error that the releases themselves do not make.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest

from demo.stack import start_stack
from demo.stack.processes import Records, family
from slipway.cli.airflow_records import DagRun
from slipway.ledger import LedgerRecord
from slipway.state import Approval
from slipway.transition import approve

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(1200)]

NAME = "steady"
ENDPOINT = f"{NAME}-prod"
SPEC = """\
approval: {required: false, approver_ids: [approver]}
promote:
  weights_pct: [50]
  bake_minutes: 0.1
  ignore_errors_below_pct: 5
  latency_slo_ms: 800
  min_requests: 60
  keep_warm_minutes: 0
  max_hold_hours: 0.1
  metrics: {period_seconds: 1, settle_seconds: 3, source: both, wrong: {tolerance: 0.5, min_outcomes: 20}}
  hooks:
  - {name: freeze, function: "checks.py:freeze", at: [before, after]}
  gates: [after]
monitor: {labels: "s3://BUCKET/labels/steady/", quality: {task: regression, label: true_value}}
"""
HOOK = """
def freeze(question):
    return {"allow": question["service"] == "steady", "reason": f"no freeze for version {question['model_version']}"}
"""
BODY = json.dumps({"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1.0, 2.0, 3.0]]}})
TRUE_VALUE = 1.0 - 2 * 2.0 + 0.5 * 3.0


@dataclass
class Users:
    """What users were answered: when each request was sent, and the error if there was one."""

    sent: int = 0
    errors: list[tuple[float, str]] = field(default_factory=list)
    variants: set[str] = field(default_factory=set)

    def failed_outside(self, begin: float, end: float) -> list[tuple[float, str]]:
        """Errors of requests that were sent before or after a time."""
        return [each for each in self.errors if not begin <= each[0] <= end]


@pytest.fixture(scope="module")
def users(world: Any) -> Iterator[Users]:
    """Version 1 is launched, and is called some 30 times a second without a second try until the tests have ended."""
    (world.settings.project / "hooks").mkdir(exist_ok=True)
    (world.settings.project / "hooks" / "checks.py").write_text(HOOK)
    world.declare(NAME, SPEC.replace("BUCKET", world.stage.artifact_bucket))
    world.register(NAME)
    world.until(lambda: f"{NAME}.promote" in {dag.dag_id for dag in world.airflow.dags()}, 120)
    if world.state(ENDPOINT) is None:  # else a kept stack is taken up again
        promotion = deploy(world)
        world.approver.answer_approval(world.waiting(promotion), "Approve", {"reason": "the first one"})
        assert world.finished(promotion).state == "success", world.errors(promotion)
    seen, stop = Users(), threading.Event()

    def send() -> None:
        runtime = world.stage.aws("sagemaker-runtime", retries={"total_max_attempts": 1})
        asked: list[str] = []
        while not stop.is_set():
            at, call = time.time(), uuid.uuid4().hex
            try:
                answer = runtime.invoke_endpoint(
                    EndpointName=ENDPOINT, ContentType="application/json", Body=BODY, InferenceId=call
                )
                answer["Body"].read()
                seen.variants.add(answer["InvokedProductionVariant"])
                asked.append(call)
            except Exception as error:
                seen.errors.append((at, str(error)))
            seen.sent += 1
            if len(asked) == 30:
                tell_outcomes(world, asked)
                asked.clear()
            stop.wait(0.06)

    senders = [threading.Thread(target=send, daemon=True) for _ in range(2)]
    for sender in senders:
        sender.start()
    yield seen
    stop.set()
    for sender in senders:
        sender.join(30)


def tell_outcomes(world: Any, calls: list[str]) -> None:
    """Put the outcomes of some calls where the service's owners do."""
    lines = [json.dumps({"inference_id": call, "true_value": TRUE_VALUE}) for call in calls]
    world.stage.aws("s3").put_object(
        Bucket=world.stage.artifact_bucket, Key=f"labels/{NAME}/{calls[0]}.jsonl", Body="\n".join(lines).encode()
    )


def deploy(world: Any) -> DagRun:
    """Deploys the candidate; returns the promotion that it woke."""
    known = {run.run_id for run in promotions(world)}
    run = world.finished(world.trigger(f"{NAME}.deploy"))
    assert run.state == "success", world.errors(run)
    return world.until(lambda: next((r for r in promotions(world) if r.run_id not in known), None), 240)


def promoted_again(world: Any) -> DagRun:
    """Lets version 2, which was taken back, wait once more, and starts its promotion by hand, without a new deploy."""
    last = next(entry for entry in reversed(world.state(ENDPOINT).history) if entry.event == "approved")
    now = datetime.now(UTC)
    approval = Approval(
        release_id=last.release_id, model_version=2, by=last.by, at=now, run_id=f"again at {now.isoformat()}"
    )
    world.states.update(ENDPOINT, lambda state: approve(state, approval))
    return world.trigger(f"{NAME}.promote")


def promotions(world: Any) -> list[DagRun]:
    return [run for run in world.airflow.dag_runs(f"{NAME}.promote", limit=10)]


def champion(world: Any) -> int:
    return int(world.state(ENDPOINT).champion.model_version)


def actions(world: Any, run: DagRun) -> list[str]:
    return [entry.action for entry in world.ledger.read(NAME) if entry.run_id == run.run_id]


def kill(world: Any, *parts: str) -> None:
    """Ends these parts of Airflow, with the tasks that they run, and starts them anew."""
    started = Records(world.settings.state_dir).read()
    for part in parts:
        for process in family(psutil.Process(started[part].pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    time.sleep(1)
    start_stack(world.settings, report=lambda part, state: None)


def test_a_good_release_is_promoted_though_airflow_dies_in_the_middle(world: Any, users: Users) -> None:
    world.register(NAME, again=True)
    since = world.position()
    run = deploy(world)
    world.until(lambda: world.tasks(run)["step_1.judge"].state == "deferred", 240)

    kill(world, "scheduler", "triggerer")
    world.approver.answer_approval(world.waiting(run), "Approve", {"reason": "the numbers look right"})

    assert world.finished(run).state == "success", world.errors(run)
    assert champion(world) == 2
    assert users.errors == []
    assert sum(f":UpdateEndpoint {ENDPOINT}" in change for change in world.changes(since)) == 2
    done = actions(world, run)
    assert (done.count("hook_allowed"), done.count("gate_opened"), done.count("promoted")) == (2, 1, 1)
    opened = next(e for e in world.ledger.read(NAME) if e.run_id == run.run_id and e.action == "gate_opened")
    assert (opened.user, opened.reason) == ("approver", "the numbers look right")
    split = [e.detail for e in looks(world, run) if e.detail["share"] and e.detail["verdict"] != "NO_DATA"]
    assert split
    assert all(map(is_split_by_chance, split)), split
    compared = {each["name"] for look in looks(world, run) for each in look.detail["comparisons"]}
    assert compared == {"error", "slow", "rejected", "answer", "unlike", "wrong"}


def test_a_rollback_that_somebody_ends_is_red_and_the_next_one_goes_through(world: Any, users: Users) -> None:
    ended = world.trigger(f"{NAME}.rollback", reason="users complain")
    world.until(lambda: world.tasks(ended)["switch"].state == "running", 240)
    world.mark_failed(ended)
    ended = world.finished(ended)
    assert ended.state == "failed"
    assert world.tasks(ended)["give_back"].state == "success"
    sagemaker = world.stage.aws("sagemaker")  # it goes on with what it was asked for
    world.until(lambda: sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "InService", 120)

    run = world.finished(world.trigger(f"{NAME}.rollback", reason="users complain"))

    assert run.state == "success", world.errors(run)
    assert champion(world) == 1
    assert users.errors == []
    [entry] = [e for e in world.ledger.read(NAME) if e.run_id == run.run_id and e.action == "rolled_back"]
    assert entry.reason == "users complain"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"effect": "error", "status": 500}, "error"),
        ({"effect": "latency", "latency_ms": 1500}, "slow"),
        ({"effect": "answer", "message": '{"predictions": [null]}'}, "answer"),
        ({"effect": "answer", "message": '{"predictions": [1.0]}'}, "wrong"),
    ],
    ids=["erring", "slow", "answering nothing", "answering wrongly"],
)
def test_a_bad_release_is_taken_back_and_only_its_own_errors_are_seen(
    world: Any, users: Users, fault: dict[str, Any], seen: str
) -> None:
    config = served(world)
    run = promoted_again(world)
    release = world.until(lambda: (promotion := world.state(ENDPOINT).promotion) and promotion.release_id, 240)
    world.until(lambda: world.tasks(run)["step_1.shift"].state == "success", 240)
    with faulty(world, release, fault) as began:
        run = world.finished(run)

    assert run.state == "failed"
    assert (champion(world), served(world)) == (1, config)
    back = rolled_back(world, run)
    assert "step_1.judge" in back.detail["cause"]
    assert f"{seen}: the challenger is worse" in back.detail["cause"]
    assert back.detail["cause"] in run.note
    assert bool(users.errors) == (fault["effect"] == "error")
    assert users.failed_outside(began, traffic_back_at(back)) == []
    users.errors.clear()


def test_a_held_canary_waits_and_an_abort_takes_it_back(world: Any, users: Users) -> None:
    config = served(world)
    run = promoted_again(world)
    world.until(lambda: world.tasks(run)["step_1.judge"].state == "deferred", 240)
    wish(world, "hold", "let me look first")
    world.until(lambda: any(look.reason.startswith("held by") for look in looks(world, run)), 120)
    wish(world, "abort", "the release notes are wrong")
    run = world.finished(run)

    assert run.state == "failed"
    assert (champion(world), served(world)) == (1, config)
    said = f"aborted by {getpass.getuser()}: the release notes are wrong"
    assert said in rolled_back(world, run).detail["cause"]
    assert said in run.note
    assert users.errors == []


def test_a_no_at_the_gate_takes_the_release_back(world: Any, users: Users) -> None:
    config = served(world)
    run = promoted_again(world)
    world.approver.answer_approval(world.waiting(run), "Reject", {"reason": "not this week"})
    run = world.finished(run)

    assert run.state == "failed"
    assert (champion(world), served(world)) == (1, config)
    assert "rejected by approver" in rolled_back(world, run).detail["cause"]
    assert "not this week" in run.note
    assert users.errors == []


def test_a_run_that_somebody_marks_as_failed_is_taken_back_in_that_persons_name(world: Any, users: Users) -> None:
    config = served(world)
    run = promoted_again(world)
    world.until(lambda: world.tasks(run)["step_1.judge"].state == "deferred", 240)
    world.mark_failed(run)
    run = world.finished(run)

    assert run.state == "failed"
    assert (champion(world), served(world)) == (1, config)
    back = rolled_back(world, run)
    assert (back.user, back.detail["cause"]) == ("admin", "the run was marked as failed by admin")
    assert back.detail["cause"] in run.note
    assert users.errors == []


def test_housekeeping_finds_nothing_to_take_back(world: Any, users: Users) -> None:
    state = world.state(ENDPOINT)
    run = world.finished(world.trigger("slipway.housekeeping"))

    assert run.state == "success", world.errors(run)
    assert world.state(ENDPOINT) == state
    assert ENDPOINT in world.endpoints()
    assert users.errors == []
    assert users.sent > 1000


def served(world: Any) -> str:
    return str(world.stage.aws("sagemaker").describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"])


def rolled_back(world: Any, run: DagRun) -> LedgerRecord:
    [entry] = [e for e in world.ledger.read(NAME) if e.run_id == run.run_id and e.action == "rolled_back"]
    return entry


def traffic_back_at(entry: LedgerRecord) -> float:
    return datetime.fromisoformat(entry.detail["traffic_back_at"]).timestamp()


def looks(world: Any, run: DagRun) -> list[LedgerRecord]:
    """The judge's looks in a run, newest first."""
    return [e for e in world.ledger.read(NAME) if e.run_id == run.run_id and e.action == "looked"]


def is_split_by_chance(look: dict[str, Any]) -> bool:
    """Whether the challenger's share lies within four standard deviations of the binomial around its weight."""
    observed, planned = look["share"]["observed_share"], look["share"]["planned_share"]
    requests = max(each["challenger"]["requests"] + each["champion"]["requests"] for each in look["comparisons"])
    return bool(abs(observed - planned) <= 4 * (planned * (1 - planned) / requests) ** 0.5)


def wish(world: Any, name: str, reason: str) -> None:
    """Says something about the promotion on the command line."""
    subprocess.run(
        [sys.executable, "-m", "slipway.cli", name, NAME, "--reason", reason],
        env={**os.environ, **world.settings.client_environment()},
        check=True,
        capture_output=True,
    )


@contextmanager
def faulty(world: Any, variant: str, fault: dict[str, Any]) -> Iterator[float]:
    """Lets a variant fail meanwhile; yields when that began (Unix seconds)."""
    began = time.time()
    faults(world, {**fault, "endpoint": ENDPOINT, "variant": variant})
    try:
        yield began
    finally:
        faults(world)


def faults(world: Any, *rules: dict[str, Any]) -> None:
    body = json.dumps({"rules": rules}).encode()
    url = f"{world.settings.aws_url}/_localaws/faults"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=body)).close()
