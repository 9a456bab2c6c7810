from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.standard.exceptions import HITLTriggerEventError
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import TaskAwaitingInput

from slipway.errors import ApprovalRejectedError, ApprovalTimedOutError, PermanentError, SupersededError
from slipway.ledger import Ledger
from slipway.platform import Platform
from slipway.release import Release, ReleaseStore
from slipway.spec import ServiceSpec
from slipway.state import EndpointState, Promotion, StateStore
from slipway.transition import begin, promote
from slipway_airflow.operators.release_approval import ReleaseApprovalOperator
from tests.unit.slipway_airflow.conftest import BUCKET
from tests.unit.slipway_airflow.releases import make_release

ENDPOINT = "flights-prod"
ANSWERED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow's API was told to ask, in place of the supervisor that only a running task has."""
    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **request: requests.append(request))
    return requests


@pytest.fixture
def release(aws: Callable[[str], Any]) -> Release:
    return record(aws, 1)


def record(aws: Callable[[str], Any], number: int) -> Release:
    return ReleaseStore(aws("s3"), BUCKET).write_once(make_release(number))[0]


@pytest.fixture
def operator(spec: ServiceSpec, platform: Platform, release: Release) -> ReleaseApprovalOperator:
    return ReleaseApprovalOperator(
        task_id="approve", spec=spec, platform=platform, release_id=release.id, report="| Check | Result |"
    )


def state_of(aws: Callable[[str], Any]) -> EndpointState:
    state, _ = StateStore(aws("s3"), BUCKET).read(ENDPOINT)
    return state or EndpointState(endpoint=ENDPOINT)


def ledger_of(aws: Callable[[str], Any]) -> list[tuple[str, str, str, str]]:
    records = Ledger(aws("s3"), BUCKET).read("flights")
    return [(record.action, record.subject, record.user, record.reason) for record in records]


def answer(option: str, reason: str | None = None, *, user: str = "ann") -> dict[str, Any]:
    return {
        "chosen_options": [option],
        "params_input": {"reason": reason},
        "responded_at": ANSWERED,
        "responded_by_user": {"id": user, "name": user},
        "timedout": False,
    }


TIMED_OUT = {
    "chosen_options": ["Reject"],
    "params_input": {"reason": None},
    "responded_at": ANSWERED,
    "responded_by_user": None,
    "timedout": True,
}


def test_the_approvers_are_asked_with_the_report(
    operator: ReleaseApprovalOperator, asked: list[dict[str, Any]], context: Callable[..., Any], release: Release
) -> None:
    with pytest.raises(TaskAwaitingInput) as waiting:
        operator.execute(context("approve"))
    assert waiting.value.method_name == "execute_complete"
    assert waiting.value.timeout == timedelta(hours=2)
    (request,) = asked
    assert request["subject"] == f"Put release {release.id} of flights (version 1) into production?"
    assert request["body"] == "| Check | Result |"
    assert request["options"] == ["Approve", "Reject"]
    assert request["defaults"] == ["Reject"]
    assert [user["id"] for user in request["assigned_users"]] == ["ann", "bob"]


def test_a_yes_lets_the_release_wait_for_its_promotion(
    operator: ReleaseApprovalOperator, aws: Callable[[str], Any], context: Callable[..., Any], release: Release
) -> None:
    result = operator.execute_complete(context("approve"), answer("Approve", "looks right"))
    assert result == {"release_id": release.id, "by": "ann", "reason": "looks right", "already": None}
    approved = state_of(aws).approved
    assert approved is not None
    assert (approved.release_id, approved.by, approved.at, approved.run_id) == (
        release.id,
        "ann",
        ANSWERED,
        "manual__1",
    )
    assert ledger_of(aws) == [("approved", f"release {release.id}", "ann", "looks right")]


def test_a_no_ends_the_task_red_and_is_recorded(
    operator: ReleaseApprovalOperator, aws: Callable[[str], Any], context: Callable[..., Any], release: Release
) -> None:
    with pytest.raises(ApprovalRejectedError, match=r"rejected by bob: precision fell"):
        operator.execute_complete(context("approve"), answer("Reject", "precision fell", user="bob"))
    assert state_of(aws).approved is None
    assert ledger_of(aws) == [("rejected", f"release {release.id}", "bob", "precision fell")]


@pytest.mark.parametrize("event", [TIMED_OUT, {"error": "no answer", "error_type": "timeout"}])
def test_no_answer_in_time_ends_the_task_red_and_is_recorded(
    operator: ReleaseApprovalOperator, aws: Callable[[str], Any], context: Callable[..., Any], event: dict[str, Any]
) -> None:
    with pytest.raises(ApprovalTimedOutError, match="Nobody answered within 2 hours"):
        operator.execute_complete(context("approve"), event)
    assert state_of(aws).approved is None
    assert [(action, user) for action, _, user, _ in ledger_of(aws)] == [("timed_out", "carol")]


def test_another_failure_of_the_waiting_is_not_taken_for_an_answer(
    operator: ReleaseApprovalOperator, aws: Callable[[str], Any], context: Callable[..., Any]
) -> None:
    with pytest.raises(HITLTriggerEventError):
        operator.execute_complete(context("approve"), {"error": "lost", "error_type": "unknown"})
    assert ledger_of(aws) == []


def test_an_answer_that_was_not_offered_is_refused(
    operator: ReleaseApprovalOperator, aws: Callable[[str], Any], context: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match="Perhaps"):
        operator.execute_complete(context("approve"), answer("Perhaps"))
    assert state_of(aws).approved is None


def test_a_reason_of_any_type_does_not_lock_the_answer(
    operator: ReleaseApprovalOperator, aws: Callable[[str], Any], context: Callable[..., Any]
) -> None:
    event = answer("Approve")
    event["params_input"] = {"reason": 5, "surprise": True}
    assert operator.execute_complete(context("approve"), event)["reason"] == "5"


def test_an_approved_release_is_not_asked_about_again(
    operator: ReleaseApprovalOperator,
    asked: list[dict[str, Any]],
    aws: Callable[[str], Any],
    context: Callable[..., Any],
) -> None:
    operator.execute_complete(context("approve"), answer("Approve"))
    before = ledger_of(aws)
    result = operator.execute(context("approve", run_id="manual__2"))
    assert result["already"].startswith("already approved by ann")
    assert asked == []
    assert ledger_of(aws) == before


def test_a_retry_after_the_yes_was_recorded_finds_it(
    operator: ReleaseApprovalOperator,
    asked: list[dict[str, Any]],
    aws: Callable[[str], Any],
    context: Callable[..., Any],
) -> None:
    operator.execute_complete(context("approve"), answer("Approve"))
    operator.execute_complete(context("approve"), answer("Approve"))
    assert len(ledger_of(aws)) == 1
    assert operator.execute(context("approve"))["already"]
    assert asked == []


@pytest.mark.parametrize("finished", [False, True])
def test_a_release_on_its_way_or_in_production_is_not_asked_about(
    operator: ReleaseApprovalOperator,
    aws: Callable[[str], Any],
    context: Callable[..., Any],
    release: Release,
    finished: bool,
) -> None:
    operator.execute_complete(context("approve"), answer("Approve"))
    promotion = Promotion(
        run_id="promote_1", release_id=release.id, model_version=1, strategy="first_launch", begun_at=ANSWERED
    )
    store = StateStore(aws("s3"), BUCKET)
    store.update(ENDPOINT, lambda state: begin(state, promotion, by="asset"))
    if finished:
        store.update(
            ENDPOINT, lambda state: promote(state, run_id="promote_1", config_name="c", at=ANSWERED, by="asset")
        )
    known = operator.execute(context("approve", run_id="manual__2"))["already"]
    assert ("champion" if finished else "promote_1") in known


def test_a_newer_approval_supersedes_the_one_that_waits(
    operator: ReleaseApprovalOperator, spec: ServiceSpec, platform: Platform, aws: Callable[[str], Any], context: Any
) -> None:
    operator.execute_complete(context("approve"), answer("Approve"))
    newer = record(aws, 2)
    later = answer("Approve") | {"responded_at": ANSWERED + timedelta(hours=1)}
    second = ReleaseApprovalOperator(task_id="approve", spec=spec, platform=platform, release_id=newer.id)
    second.execute_complete(context("approve", run_id="manual__2"), later)
    state = state_of(aws)
    assert state.approved is not None
    assert state.approved.release_id == newer.id
    assert [entry.event for entry in state.history] == ["approved", "superseded", "approved"]


def test_an_approval_that_comes_after_a_newer_one_says_so(
    operator: ReleaseApprovalOperator, spec: ServiceSpec, platform: Platform, aws: Callable[[str], Any], context: Any
) -> None:
    newer = record(aws, 2)
    second = ReleaseApprovalOperator(task_id="approve", spec=spec, platform=platform, release_id=newer.id)
    later = answer("Approve") | {"responded_at": ANSWERED + timedelta(hours=1)}
    second.execute_complete(context("approve", run_id="manual__2"), later)
    with pytest.raises(SupersededError, match="came too late"):
        operator.execute_complete(context("approve"), answer("Approve"))


def test_without_required_approval_the_policy_approves(
    spec: ServiceSpec,
    platform: Platform,
    release: Release,
    asked: list[dict[str, Any]],
    aws: Callable[[str], Any],
    context: Callable[..., Any],
) -> None:
    lenient = spec.model_copy(update={"approval": spec.approval.model_copy(update={"required": False})})
    operator = ReleaseApprovalOperator(task_id="approve", spec=lenient, platform=platform, release_id=release.id)
    assert "policy" in operator.execute(context("approve"))["by"]
    approved = state_of(aws).approved
    assert approved is not None
    assert approved.release_id == release.id
    assert asked == []
    assert len(ledger_of(aws)) == 1


def test_an_unrecorded_release_cannot_be_asked_about(
    spec: ServiceSpec, platform: Platform, aws: Callable[[str], Any], context: Callable[..., Any]
) -> None:
    operator = ReleaseApprovalOperator(task_id="approve", spec=spec, platform=platform, release_id="0123456789ab")
    with pytest.raises(PermanentError, match=r"flights\.deploy again"):
        operator.execute(context("approve"))


def test_time_and_approvers_come_from_the_spec_and_can_be_replaced(spec: ServiceSpec, platform: Platform) -> None:
    operator = ReleaseApprovalOperator(
        task_id="approve", spec=spec, platform=platform, release_id="x", response_timeout=timedelta(minutes=5)
    )
    assert operator.response_timeout == timedelta(minutes=5)
    assert operator.fail_on_reject is False
