"""The end of a promotion: the old champion leaves only when the new one has the traffic."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from airflow.sdk.exceptions import TaskDeferred

from slipway.errors import EndpointBusyError, LeaseHeldError
from slipway_airflow.operators.rollback_begin import RollbackBeginOperator
from slipway_airflow.operators.rollback_record import LeaseReleaseOperator
from slipway_airflow.operators.rollback_switch import RollbackSwitchOperator
from tests.integration.slipway_airflow.canaries import Canary, approved_canary, canary_spec
from tests.integration.slipway_airflow.conftest import Service
from tests.integration.slipway_airflow.kills import run_with_kills
from tests.integration.slipway_airflow.promotions import Promotion

pytestmark = pytest.mark.integration


@pytest.fixture
def canary(promotion: Callable[..., Promotion], service: Service) -> Canary:
    return approved_canary(promotion, service, canary_spec(service))


def change(service: Service, **variant: object) -> None:
    """What a person does by hand."""
    service.aws.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=f"{service.spec.name}-prod", DesiredWeightsAndCapacities=[variant]
    )
    settle(service)


def settle(service: Service) -> None:
    deadline = time.monotonic() + 60
    while service.describe("prod")["EndpointStatus"] != "InService":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_champion_that_has_scaled_is_served_alone_at_its_size_also_when_the_task_is_deferred(
    canary: Canary, service: Service
) -> None:
    change(service, VariantName=service.state().champion.release_id, DesiredInstanceCount=2)
    release_id = canary.to_champion()
    with pytest.raises(TaskDeferred) as deferred:
        canary.task("finish.retire", release_id, deferrable=True).execute(
            canary.context("finish.retire", run_id=canary.run_id)
        )
    settle(service)
    result = canary.resume("finish.retire", release_id, deferred.value, deferrable=True)
    found, state = service.describe("prod"), service.state()
    assert [(each["VariantName"], each["CurrentInstanceCount"]) for each in found["ProductionVariants"]] == [
        (release_id, 2)
    ]
    assert result["config_name"] == found["EndpointConfigName"] == state.champion.config_name
    assert state.lease is None


def test_somebody_may_roll_back_while_a_cleared_end_of_a_promotion_waits_for_the_warm_time(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    canary = approved_canary(promotion, service, canary_spec(service, keep_warm_minutes=30))
    release_id = canary.to_champion()
    canary.execute("record", "")  # cleared along with the task that waits
    with pytest.raises(TaskDeferred):
        canary.execute("finish.retire", release_id)
    assert service.state().lease is None
    way = canary.make(RollbackBeginOperator, "record").execute(canary.context("record", run_id="rollback_1"))
    assert way["route"] == "warm"


def test_a_champion_whose_traffic_was_taken_by_hand_is_not_given_it_back(canary: Canary, service: Service) -> None:
    release_id = canary.to_champion()
    state = service.state()
    since = service.aws.position()
    change(service, VariantName=state.previous.release_id, DesiredWeight=100.0)
    change(service, VariantName=release_id, DesiredWeight=0.0)
    with pytest.raises(EndpointBusyError, match=rf"{release_id} 0.*expected all traffic on {release_id}") as refused:
        canary.execute("finish.retire", release_id)
    assert f"slipway rollback {service.spec.name}" in str(refused.value)
    assert service.ask("prod", 3.0) == 6.0
    assert service.aws.changes(since).count("UpdateEndpoint") == 0
    assert service.state().lease is None
    way = canary.make(RollbackBeginOperator, "record").execute(canary.context("record", run_id="rollback_1"))
    assert (way["route"], way["leaving"]) == ("warm", []), "what was done by hand can be recorded"


def test_half_a_rollback_is_not_undone_by_the_end_of_the_promotion(canary: Canary, service: Service) -> None:
    release_id = canary.to_champion()
    change(service, VariantName=release_id, DesiredInstanceCount=2)
    way = canary.make(RollbackBeginOperator, "record").execute(canary.context("record", run_id="rollback_1"))
    assert way["instances"] == 2
    with pytest.raises(AssertionError, match="not through after 1 kills"):  # the weights are moved, the size is not
        run_with_kills(
            lambda: canary.make(RollbackSwitchOperator, "switch", way=way),
            canary.context("switch", run_id="rollback_1"),
            most=1,
        )
    settle(service)
    canary.make(LeaseReleaseOperator, "give_back").execute(canary.context("give_back", run_id="rollback_1"))
    assert service.state().champion.release_id == release_id
    with pytest.raises(EndpointBusyError, match="clear this task"):
        canary.execute("finish.retire", release_id)
    assert service.ask("prod", 3.0) == 6.0


def test_a_champion_is_recorded_only_when_it_has_the_traffic_and_under_the_lease(
    canary: Canary, service: Service
) -> None:
    release_id = canary.through("prepare", "step_1.shift")
    canary.pass_step(1)
    canary.execute("finish.shift", release_id)
    canary.pass_step(2)
    first = service.state().champion.release_id
    change(service, VariantName=first, DesiredWeight=100.0)
    with pytest.raises(EndpointBusyError, match=f"{first} 100, .*is not finished|expected all traffic"):
        canary.execute("finish.champion", release_id)
    change(service, VariantName=first, DesiredWeight=0.0)
    endpoint = f"{service.spec.name}-prod"
    service.states.release_lease(endpoint, f"dag/{canary.run_id}")
    service.states.take_lease(endpoint, "slipway.housekeeping", purpose="roll back what was lost", seconds=60)
    with pytest.raises(LeaseHeldError, match="roll back what was lost"):
        canary.execute("finish.champion", release_id)
    assert service.state().champion.release_id == first
    service.states.release_lease(endpoint, "slipway.housekeeping")
    canary.execute("finish.champion", release_id)
    assert service.state().champion.release_id == release_id
