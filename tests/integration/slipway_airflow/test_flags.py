"""Abort, hold and approve now, between the steps of a canary and where there are no steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import TaskDeferred

from slipway.errors import CanaryFailedError
from slipway.state import Flag
from slipway.transition import FlagName, raise_flag, resume
from slipway_airflow.operators.canary_prepare import CanaryPrepareOperator
from tests.integration.slipway_airflow.canaries import Canary, approved_canary, canary_spec
from tests.integration.slipway_airflow.conftest import Service
from tests.integration.slipway_airflow.promotions import Promotion, approved

pytestmark = pytest.mark.integration


@pytest.fixture
def canary(promotion: Callable[..., Promotion], service: Service) -> Canary:
    return approved_canary(promotion, service, canary_spec(service))


def say(service: Service, name: FlagName) -> None:
    flag = Flag(by="ann", at=datetime.now(UTC), reason="looks odd")
    service.states.update(f"{service.spec.name}-prod", lambda state: raise_flag(state, name, flag))


def weights(service: Service) -> dict[str, float]:
    found = service.describe("prod")["ProductionVariants"]
    return {each["VariantName"]: each.get("CurrentWeight", 0.0) for each in found}


def test_a_first_launch_that_is_aborted_does_not_become_the_champion(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    release, run = approved(service, 1), promotion()
    run.begin()
    config = run.launch(release.id)["config_name"]
    say(service, "abort")
    with pytest.raises(CanaryFailedError, match="aborted by ann: looks odd"):
        run.finish(config)
    back = run.roll_back(finish="failed")
    assert back["undone_because"] == (
        f"Release {release.id} was rolled back: failed: finish; aborted by ann: looks odd."
    )
    state = service.state()
    assert (state.champion, state.promotion, state.lease) == (None, None, None)
    assert service.describe("prod") is None


def test_what_is_promoted_all_at_once_is_aborted_when_its_update_is_done(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    first = approved(service, 1)
    promotion().run()
    second, run = approved(service, 2, weight=5.0, answers=5.0), promotion("promote_2")
    run.begin()
    prepare = run.make(CanaryPrepareOperator, "prepare", release_id=second.id, waiter_delay=1, deferrable=True)
    context = run.context("prepare", run_id="promote_2")
    with pytest.raises(TaskDeferred) as deferred:
        prepare.execute(context)
    say(service, "abort")
    deadline = time.monotonic() + 60
    while service.describe("prod")["EndpointStatus"] != "InService":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    again = run.make(CanaryPrepareOperator, "prepare", release_id=second.id, waiter_delay=1, deferrable=True)
    with pytest.raises(CanaryFailedError, match="aborted by ann"):
        again.execute_complete(context, {"status": "success"}, **deferred.value.kwargs)
    with pytest.raises(CanaryFailedError, match="aborted by ann"):
        again.execute(context)
    run.roll_back(prepare="failed")
    assert service.ask("prod", 3.0) == 6.0
    assert service.state().champion.release_id == first.id


def test_a_held_canary_keeps_its_weights_between_two_steps_until_it_is_resumed(
    canary: Canary, service: Service
) -> None:
    release_id = canary.through("prepare", "step_1.shift")
    canary.pass_step(1)
    say(service, "hold")
    with ThreadPoolExecutor(1) as pool:
        shifting = pool.submit(canary.execute, "finish.shift", release_id)
        time.sleep(4)
        assert not shifting.done()
        assert weights(service)[release_id] == 50.0
        assert len(service.state().promotion.steps) == 1
        service.states.update(f"{service.spec.name}-prod", lambda state: resume(state, at=datetime.now(UTC)))
        assert shifting.result(60)["weight_pct"] == 100.0
    assert weights(service)[release_id] == 100.0


def test_a_hold_before_a_second_try_leaves_a_step_that_has_its_weights_to_the_steps_judge(
    canary: Canary, service: Service
) -> None:
    release_id = canary.through("prepare")
    champion = service.state().champion.release_id
    service.aws.client("sagemaker").update_endpoint_weights_and_capacities(  # by a first try, which was killed then
        EndpointName=f"{service.spec.name}-prod",
        DesiredWeightsAndCapacities=[
            {"VariantName": champion, "DesiredWeight": 50.0},
            {"VariantName": release_id, "DesiredWeight": 50.0},
        ],
    )
    say(service, "hold")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(canary.execute, "step_1.shift", release_id).result(60)["weight_pct"] == 50.0
    assert [step.number for step in service.state().promotion.steps] == [1]


def test_an_abort_takes_a_held_canary_back(canary: Canary, service: Service) -> None:
    release_id = canary.through("prepare", "step_1.shift")
    canary.pass_step(1)
    say(service, "hold")
    with ThreadPoolExecutor(1) as pool:
        shifting = pool.submit(canary.execute, "finish.shift", release_id)
        time.sleep(1)
        say(service, "abort")
        with pytest.raises(CanaryFailedError, match="aborted by ann"):
            shifting.result(60)
    assert weights(service)[release_id] == 0.0, "without waiting for the teardown"


def test_approve_now_is_about_the_step_that_is_judged_and_no_later_one(canary: Canary, service: Service) -> None:
    release_id = canary.through("prepare", "step_1.shift")
    canary.pass_step(1)
    say(service, "approve_now")
    canary.execute("finish.shift", release_id)
    assert service.state().flags.approve_now is None
    say(service, "approve_now")
    canary.execute("finish.shift", release_id)
    assert service.state().flags.approve_now is not None, "said of this step, which a second try does not begin again"
