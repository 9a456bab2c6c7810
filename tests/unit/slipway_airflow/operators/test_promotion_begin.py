"""A promotion's first task, run again with a later one that was cleared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import EndpointBusyError, LeaseHeldError, SupersededError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import Approval, EndpointState, Promotion
from slipway.transition import approve, begin, give_up, promote
from slipway_airflow.operators.promotion_begin import PromotionBeginOperator
from tests.unit.slipway_airflow.operators.canaries import BEGAN, CHALLENGER, ENDPOINT, RUN, states

Record = Callable[[], dict[str, Any]]


@pytest.fixture
def record(spec: ServiceSpec, platform: Platform, context: Callable[..., Any], aws: Any) -> Record:
    def execute() -> dict[str, Any]:
        operator = PromotionBeginOperator(task_id="record", spec=spec, platform=platform)
        return operator.execute(context("record"))

    return execute


def begun(state: EndpointState, release_id: str, run_id: str) -> EndpointState:
    approval = Approval(release_id=release_id, model_version=2, by="ann", at=BEGAN, run_id=f"deploy-{release_id}")
    promotion = Promotion(
        run_id=run_id, release_id=release_id, model_version=2, strategy="first_launch", begun_at=BEGAN
    )
    return begin(approve(state, approval), promotion, by="asset")


def finished(state: EndpointState) -> EndpointState:
    return promote(begun(state, CHALLENGER, RUN), run_id=RUN, config_name="config", at=BEGAN, by="asset")


def waiting(state: EndpointState) -> EndpointState:
    return approve(state, Approval(release_id="c" * 12, model_version=3, by="ann", at=BEGAN, run_id="deploy-c"))


def test_a_finished_promotion_is_told_again_under_the_lease_while_another_release_waits(
    aws: Callable[[str], Any], record: Record
) -> None:
    states(aws).update(ENDPOINT, lambda state: waiting(finished(state)))
    again = {"release_id": CHALLENGER, "model_version": 2, "strategy": "first_launch", "recorded_config": None}
    assert record() == again
    state, _ = states(aws).read(ENDPOINT)
    assert state is not None
    assert state.lease is not None
    assert state.lease.holder == f"flights.deploy/{RUN}"
    assert (state.promotion, state.approved is not None) == (None, True)


def test_a_finished_promotion_waits_for_what_others_do(aws: Callable[[str], Any], record: Record) -> None:
    states(aws).update(ENDPOINT, finished)
    states(aws).take_lease(ENDPOINT, "rollback/7", purpose="go back", seconds=60)
    with pytest.raises(LeaseHeldError, match="rollback/7"):
        record()
    states(aws).release_lease(ENDPOINT, "rollback/7")
    states(aws).update(ENDPOINT, lambda state: begun(state, "c" * 12, "promote-c"))
    with pytest.raises(EndpointBusyError, match="promote-c promotes release cccccccccccc beside it"):
        record()
    state, _ = states(aws).read(ENDPOINT)
    assert state is not None
    assert state.lease is None


@pytest.mark.parametrize("later", [lambda state: state, waiting], ids=["nothing waits", "another release waits"])
def test_a_run_whose_release_was_taken_back_begins_no_other_one(
    aws: Callable[[str], Any], record: Record, later: Callable[[EndpointState], EndpointState]
) -> None:
    def over(state: EndpointState) -> EndpointState:
        return later(give_up(begun(state, CHALLENGER, RUN), run_id=RUN, at=BEGAN, by="judge", reason="errors"))

    states(aws).update(ENDPOINT, over)
    with pytest.raises(SupersededError, match=r"rolled_back .*\(errors\).*slipway promote flights"):
        record()
    state, _ = states(aws).read(ENDPOINT)
    assert state is not None
    assert (state.lease, state.promotion) == (None, None)


def test_without_an_approved_release_a_new_run_is_skipped(aws: Callable[[str], Any], record: Record) -> None:
    with pytest.raises(AirflowSkipException, match="no approved release"):
        record()
    states(aws).update(ENDPOINT, lambda state: begun(state, CHALLENGER, "promote-b"))
    with pytest.raises(AirflowSkipException, match="no approved release"):
        record()
