from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from slipway.errors import ApprovalRejectedError, ApprovalTimedOutError, CanaryFailedError, SupersededError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.spec.hooks import AFTER
from slipway.state import Flag
from slipway.transition import give_up, raise_flag
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.canary_guard import CanaryGuardOperator
from slipway_airflow.operators.promotion_gate import PromotionGateOperator
from tests.unit.slipway_airflow.operators.canaries import BEGAN, ENDPOINT, RUN, begin_canary, promotion_of, states
from tests.unit.slipway_airflow.operators.canaries import ledger_of as records_of
from tests.unit.slipway_airflow.operators.test_release_approval import TIMED_OUT, answer

Make = Callable[..., PromotionGateOperator]
TASK = "step_2.gate"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow's API was told to ask, in place of the supervisor that only a running task has."""
    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **request: requests.append(request))
    return requests


@pytest.fixture
def gate(spec: ServiceSpec, platform: Platform) -> Make:
    def make(step: int | str = 2) -> PromotionGateOperator:
        return PromotionGateOperator(task_id="gate", step=step, spec=spec, platform=platform)

    return make


def said(aws: Callable[[str], Any]) -> list[tuple[str, str, str]]:
    return [(record.action, record.user, record.reason) for record in records_of(aws)]


def test_the_approvers_are_asked_with_what_was_judged(
    aws: Callable[[str], Any], gate: Make, asked: list[dict[str, Any]], context: Callable[..., Any]
) -> None:
    begin_canary(aws, passed=1)
    with pytest.raises(TaskAwaitingInput) as waiting:
        gate().execute(context(TASK))
    assert waiting.value.timeout == timedelta(hours=2)
    (request,) = asked
    assert request["subject"] == f"May release {'b' * 12} of flights (version 2) have 50 % of the traffic?"
    assert "step 1 at 5 %: **PASS** after 3 looks\n    - below 1.00%" in request["body"]
    assert [user["id"] for user in request["assigned_users"]] == ["ann", "bob"]


def test_the_last_question_is_about_the_champion(
    aws: Callable[[str], Any], gate: Make, asked: list[dict[str, Any]], context: Callable[..., Any]
) -> None:
    begin_canary(aws, passed=3)
    with pytest.raises(TaskAwaitingInput):
        gate(AFTER).execute(context(TASK))
    assert asked[0]["subject"].endswith("become the champion?")


def test_a_yes_is_kept_and_nobody_is_asked_again(
    aws: Callable[[str], Any], gate: Make, asked: list[dict[str, Any]], context: Callable[..., Any]
) -> None:
    begin_canary(aws, passed=1)
    result = gate().execute_complete(context(TASK), answer("Approve", "looks right"))
    assert result == {"place": "step 2", "by": "ann", "reason": "looks right"}
    assert gate().execute(context(TASK)) == result
    assert asked == []
    assert said(aws) == [("gate_opened", "ann", "looks right")]
    assert promotion_of(aws).stopped_because is None


def test_a_no_ends_the_task_red_with_the_name_of_who_said_it(
    aws: Callable[[str], Any], gate: Make, context: Callable[..., Any]
) -> None:
    begin_canary(aws, passed=1)
    for _ in range(2):  # killed after the state was written, and run again by the same answer
        with pytest.raises(ApprovalRejectedError, match=r"rejected by bob at the gate of step 2: too slow"):
            gate().execute_complete(context(TASK), answer("Reject", "too slow", user="bob"))
    assert said(aws) == [("gate_refused", "bob", "too slow")]
    assert promotion_of(aws).stopped_because == "rejected by bob at the gate of step 2: too slow"
    assert promotion_of(aws).gate_answer("step 2").by == "bob"  # type: ignore[union-attr]


@pytest.mark.parametrize("event", [TIMED_OUT, {"error": "no answer", "error_type": "timeout"}])
def test_no_answer_in_time_is_a_no(
    aws: Callable[[str], Any], gate: Make, context: Callable[..., Any], event: dict[str, Any]
) -> None:
    begin_canary(aws, passed=1)
    with pytest.raises(ApprovalTimedOutError, match="nobody answered within 2 hours"):
        gate().execute_complete(context(TASK), event)
    assert promotion_of(aws).stopped_because == "nobody answered within 2 hours at the gate of step 2"


def test_an_answer_after_the_rollback_is_too_late(
    aws: Callable[[str], Any], gate: Make, context: Callable[..., Any]
) -> None:
    begin_canary(aws, passed=1)
    states(aws).update(ENDPOINT, lambda state: give_up(state, run_id=RUN, at=BEGAN, by="ann", reason="bad"))
    with pytest.raises(SupersededError, match="not under way any more"):
        gate().execute_complete(context(TASK), answer("Approve"))


def test_a_step_that_the_run_does_not_have_has_no_gate(
    aws: Callable[[str], Any], gate: Make, asked: list[dict[str, Any]], context: Callable[..., Any]
) -> None:
    begin_canary(aws, plan=False)
    for step in (1, FINAL):
        with pytest.raises(AirflowSkipException):
            gate(step).execute(context(TASK))
    assert asked == []


@pytest.fixture
def guard(spec: ServiceSpec, platform: Platform) -> Callable[..., CanaryGuardOperator]:
    def make(step: int | str = 1) -> CanaryGuardOperator:
        return CanaryGuardOperator(
            task_id="guard", step=step, spec=spec, platform=platform, deferrable=False, poll_seconds=0.01
        )

    return make


def test_before_the_first_step_the_guard_waits_for_the_answer_or_an_abort(
    aws: Callable[[str], Any],
    gate: Make,
    guard: Callable[..., CanaryGuardOperator],
    context: Callable[..., Any],
) -> None:
    begin_canary(aws)
    states(aws).update(ENDPOINT, lambda state: raise_flag(state, "abort", Flag(by="eve", at=BEGAN)))
    with pytest.raises(CanaryFailedError, match="aborted by eve"):
        guard().execute(context("step_1.guard"))
    assert promotion_of(aws).stopped_because == "aborted by eve"
    begin_canary(aws)
    gate(1).execute_complete(context("step_1.gate"), answer("Approve"))
    assert guard().execute(context("step_1.guard"))["reason"] == "answered by ann"


@pytest.mark.parametrize(("step", "number"), [(2, 1), (FINAL, 2)])
def test_the_guard_judges_the_step_that_has_the_traffic(
    aws: Callable[[str], Any],
    guard: Callable[..., CanaryGuardOperator],
    context: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    step: int | str,
    number: int,
) -> None:
    begin_canary(aws, passed=2)
    watched: list[Any] = []
    operator = guard(step)
    monkeypatch.setattr(operator, "watch", lambda run, request: watched.append(request))
    monkeypatch.setattr("slipway_airflow.operators.canary_judge.describe", lambda *_: {"EndpointConfigName": "new"})
    operator.execute(context("guard"))
    (request,) = watched
    assert (request.step["number"], request.gate, request.reference) == (number, f"step {number + 1}", None)
    assert set(request.rules["policies"]) == {"error", "rejected"}
    assert request.weights == {"a" * 12: 100 - (5, 50)[number - 1], "b" * 12: (5, 50)[number - 1]}
