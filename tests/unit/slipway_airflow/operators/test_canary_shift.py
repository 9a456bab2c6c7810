"""What people have asked for is read before the traffic moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from slipway.errors import CanaryFailedError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import Flag
from slipway.transition import raise_flag
from slipway_airflow.canary_watch import WatchRequest, open_watch
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.canary_shift import CanaryShiftOperator
from tests.unit.slipway_airflow.operators.canaries import BEGAN, ENDPOINT, begin_canary, promotion_of, states

Shift = Callable[[int | str], CanaryShiftOperator]


@pytest.fixture
def shift(spec: ServiceSpec, platform: Platform, aws: Any) -> Shift:
    def make(step: int | str) -> CanaryShiftOperator:
        return CanaryShiftOperator(task_id="shift", step=step, spec=spec, platform=platform, deferrable=True)

    return make


def say(aws: Callable[[str], Any], name: Any) -> None:
    flag = Flag(by="eve", at=BEGAN, reason="wait")
    states(aws).update(ENDPOINT, lambda state: raise_flag(state, name, flag))


@pytest.mark.parametrize(("plan", "step"), [(True, 2), (True, FINAL), (False, FINAL), (False, 1)])
def test_an_abort_is_obeyed_also_where_there_are_no_steps(
    aws: Callable[[str], Any], shift: Shift, context: Callable[..., Any], plan: bool, step: int | str
) -> None:
    begin_canary(aws, passed=2 if plan else 0, plan=plan)
    say(aws, "abort")
    with pytest.raises(CanaryFailedError, match="aborted by eve: wait"):
        shift(step).execute(context("shift"))
    assert promotion_of(aws).stopped_because == "aborted by eve: wait"


def test_a_hold_is_waited_for_without_a_worker_and_keeps_no_promotion_without_steps(
    aws: Callable[[str], Any], shift: Shift, context: Callable[..., Any]
) -> None:
    begin_canary(aws)
    say(aws, "hold")
    operator = shift(1)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context("step_1.shift"))
    request = WatchRequest(**deferred.value.trigger.serialize()[1]["request"])
    assert (request.held, request.gate, request.rules) == (True, "step 1", {})
    watch = open_watch(request, operator.hook, operator.hook)
    assert watch.tick() is None
    assert promotion_of(aws).steps == ()
    say(aws, "abort")
    decision = watch.tick()
    assert decision is not None
    assert decision.reason == "aborted by eve: wait"
    begin_canary(aws, plan=False)
    states(aws).update(
        ENDPOINT, lambda state: state.model_copy(update={"flags": state.flags.model_copy(update={"abort": None})})
    )
    with pytest.raises(AirflowSkipException, match="has no steps"):
        shift(1).execute(context("step_1.shift"))


def test_while_it_is_held_the_step_before_goes_on_being_judged(
    aws: Callable[[str], Any], shift: Shift, context: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_canary(aws, passed=1)
    say(aws, "hold")
    monkeypatch.setattr("slipway_airflow.operators.canary_judge.describe", lambda *_: {"EndpointConfigName": "new"})
    with pytest.raises(TaskDeferred) as deferred:
        shift(2).execute(context("step_2.shift"))
    request = WatchRequest(**deferred.value.trigger.serialize()[1]["request"])
    assert (request.held, request.gate, request.step["number"]) == (True, "step 2", 1)
    assert request.weights == {"a" * 12: 95, "b" * 12: 5}
    assert set(request.rules["policies"]) == {"error", "rejected"}
