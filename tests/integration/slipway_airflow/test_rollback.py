"""Back to the previous champion: warm by weight, later by endpoint config."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from mlflow import MlflowClient

from slipway.errors import (
    CanaryFailedError,
    EndpointBusyError,
    LeaseHeldError,
    ModelRegistryUnavailableError,
    NoWayBackError,
    SupersededError,
)
from slipway.ledger import Ledger
from slipway_airflow.operators.endpoint_verify import EndpointVerifyOperator
from slipway_airflow.operators.rollback_begin import RollbackBeginOperator
from slipway_airflow.operators.rollback_record import LeaseReleaseOperator, RollbackRecordOperator
from slipway_airflow.operators.rollback_switch import RollbackSettleOperator, RollbackSwitchOperator
from tests.integration.slipway_airflow.canaries import Canary, canary_spec, users_of
from tests.integration.slipway_airflow.conftest import BUCKET, Service
from tests.integration.slipway_airflow.kills import run_with_kills
from tests.integration.slipway_airflow.promotions import Promotion, approved

pytestmark = pytest.mark.integration

RUN = "rollback_1"


class Rollback:
    """One run of ``<service>.rollback``, task by task."""

    def __init__(self, promotion: Promotion) -> None:
        self.promotion = promotion
        self.way: dict[str, Any] = {}
        self.switched: dict[str, Any] = {}

    def task(self, name: str) -> Any:
        kinds: dict[str, tuple[Any, dict[str, Any]]] = {
            "record": (RollbackBeginOperator, {}),
            "switch": (RollbackSwitchOperator, {"way": self.way}),
            "champion": (RollbackRecordOperator, {"way": self.way, "switched": self.switched}),
            "settle": (RollbackSettleOperator, {"way": self.way}),
            "verify": (EndpointVerifyOperator, {"stage": "prod", "release_id": self.way.get("release_id")}),
            "give_back": (LeaseReleaseOperator, {}),
        }
        kind, fields = kinds[name]
        return self.promotion.make(kind, name, **fields)

    def execute(self, name: str) -> Any:
        return self.task(name).execute(self.context(name))

    def context(self, name: str) -> Any:
        return {**self.promotion.context(name, run_id=RUN), "params": {"reason": "complaints"}}

    def run(self) -> None:
        self.way = self.execute("record")
        self.switched = self.execute("switch")
        for name in ("champion", "settle", "give_back"):
            self.execute(name)


@pytest.fixture
def rollback(promotion: Callable[..., Promotion]) -> Rollback:
    return Rollback(promotion(RUN))


def warm_canary(service: Service, promotion: Callable[..., Promotion], **promote: Any) -> Canary:
    """Version 1 launched, version 2 promoted by a canary and version 1 still warm."""
    approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    spec = canary_spec(service, **promote)
    base = promotion("promote_2", spec)
    canary = Canary(base.service, base.platform, base.context, "promote_2", spec)
    with users_of(service):
        canary.through("prepare", "step_1.shift", "step_1.judge", "finish.shift", "finish.judge", "finish.champion")
    return canary


@pytest.mark.long
def test_a_warm_champion_is_back_by_weight_and_then_alone(
    promotion: Callable[..., Promotion], service: Service, registry: MlflowClient, rollback: Rollback
) -> None:
    warm_canary(service, promotion)
    first = service.state().previous
    since = service.aws.position()
    with users_of(service) as users:
        rollback.way = rollback.execute("record")
        assert rollback.way["route"] == "warm"
        rollback.switched = rollback.execute("switch")
        assert service.ask("prod", 3.0) == 6.0
        assert service.aws.changes(since).count("UpdateEndpoint") == 0
        for name in ("champion", "settle", "give_back"):
            rollback.execute(name)
    assert users.failed == []
    state = service.state()
    assert (state.champion.release_id, state.champion.run_id) == (first.release_id, RUN)
    assert (state.previous, state.lease, state.promotion) == (None, None, None)
    found = service.describe("prod")
    assert found["EndpointConfigName"] == state.champion.config_name
    assert [each["VariantName"] for each in found["ProductionVariants"]] == [first.release_id]
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1
    assert state.history[-1].event == "rolled_back"
    assert (state.history[-1].by, state.history[-1].reason) == ("carol", "complaints")
    record = next(
        each
        for each in Ledger(service.aws.client("s3"), BUCKET).read(service.spec.name)
        if each.action == "rolled_back"
    )
    assert (record.user, record.reason, record.detail["route"]) == ("carol", "complaints", "warm")


@pytest.mark.long
def test_a_canary_beside_a_champion_of_before_that_never_left_goes_back_to_the_champion_alone(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    """The endpoint's config still gives all weight to version 1: to restore it would put that one back in charge."""
    before = warm_canary(service, promotion)
    second = service.state().champion.release_id
    before.execute("roll_back", second, **{"finish.retire": "failed"})
    third = approved(service, 3, weight=7.0, answers=7.0)
    base = promotion("promote_3", before.spec)
    canary = Canary(base.service, base.platform, base.context, "promote_3", before.spec)
    canary.through("prepare", "step_1.shift")
    with pytest.raises(CanaryFailedError, match="step 1 did not pass"):
        canary.execute("finish.shift", third.id)
    with users_of(service) as users:
        back = canary.execute("roll_back", third.id, **{"step_1.judge": "failed"})
    found = service.describe("prod")
    assert [(each["VariantName"], each["CurrentWeight"]) for each in found["ProductionVariants"]] == [(second, 1.0)]
    assert (back["rolled_back"], found["EndpointConfigName"]) == (third.id, back["restored_config"])
    assert service.state().champion.release_id == second
    assert users.failed == []
    assert set(users.variants) <= {second, third.id}


@pytest.mark.long
def test_neither_the_retiring_task_nor_a_second_rollback_undoes_the_first(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    canary = warm_canary(service, promotion)
    promoted = service.state().champion.release_id
    rollback.run()
    config = service.describe("prod")["EndpointConfigName"]
    with pytest.raises(AirflowSkipException, match="another release has become the champion"):
        canary.execute("finish.retire", promoted)
    assert rollback.execute("record") == rollback.way
    rollback.execute("give_back")
    again = rollback.promotion.make(RollbackBeginOperator, "record")
    with pytest.raises(NoWayBackError, match="no champion before"):
        again.execute({**rollback.promotion.context("record", run_id="rollback_2"), "params": {}})
    assert service.state().lease is None
    assert service.describe("prod")["EndpointConfigName"] == config


def test_a_cold_champion_is_back_by_its_config(
    promotion: Callable[..., Promotion], service: Service, registry: MlflowClient, rollback: Rollback
) -> None:
    first = approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    promotion("promote_2").run()
    with users_of(service) as users:
        rollback.run()
    assert users.failed == []
    assert rollback.way["route"] == "config"
    assert service.ask("prod", 3.0) == 6.0
    assert service.state().champion.release_id == first.id
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1


def test_what_was_left_is_done_by_the_tasks_that_are_cleared(
    promotion: Callable[..., Promotion],
    service: Service,
    registry: MlflowClient,
    rollback: Rollback,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    promotion("promote_2").run()
    rollback.way, since = rollback.execute("record"), service.aws.position()
    rollback.switched = rollback.execute("switch")
    with monkeypatch.context() as down:
        down.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        down.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "http", "host": "127.0.0.1", "port": 1}))
        with pytest.raises(ModelRegistryUnavailableError):
            rollback.execute("champion")
    rollback.execute("give_back")
    rollback.execute("champion")  # cleared alone
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1
    assert service.state().lease is None
    assert rollback.execute("record") == rollback.way, "cleared with all that follows"
    for name in ("champion", "settle", "verify", "give_back"):
        rollback.execute(name)
    state = service.state()
    assert (state.champion.model_version, state.champion.run_id, state.lease) == (1, RUN, None)
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    assert [action for action, _ in service.ledger()].count("rolled_back") == 1


def test_a_rollback_is_not_taken_up_again_past_a_later_champion(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    for number in (1, 2):
        approved(service, number, weight=2.0 * number, answers=2.0 * number)
        promotion(f"promote_{number}").run()
    stale = Rollback(rollback.promotion)
    stale.way = stale.execute("record")
    stale.execute("give_back")
    approved(service, 3, weight=7.0, answers=7.0)
    promotion("promote_3").run()
    since = service.aws.position()
    for name in ("switch", "settle"):
        with pytest.raises(SupersededError, match="Nothing was changed"):
            stale.execute(name)
        assert service.state().lease is None
    assert service.aws.changes(since).count("UpdateEndpoint") == 0
    rollback.run()
    assert service.state().champion.model_version == 2
    approved(service, 4, weight=8.0, answers=8.0)
    promotion("promote_4").run()
    with pytest.raises(SupersededError, match="start another rollback"):
        rollback.execute("record")
    assert service.ask("prod", 3.0) == 24.0


def test_the_first_champion_has_nothing_before_it(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    approved(service, 1)
    promotion().run()
    with pytest.raises(NoWayBackError, match="it was the first"):
        rollback.execute("record")


def test_a_promotion_under_way_is_aborted_not_rolled_back(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    approved(service, 1)
    run = promotion()
    run.begin()
    with pytest.raises(EndpointBusyError, match="slipway abort"):
        rollback.execute("record")


def test_beyond_its_retention_the_model_version_to_deploy_is_named(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    for number in (1, 2):
        approved(service, number, weight=2.0 * number, answers=2.0 * number)
        promotion(f"promote_{number}").run()
    long_ago = datetime.now(UTC) - timedelta(days=31)
    endpoint = f"{service.spec.name}-prod"
    service.states.update(
        endpoint,
        lambda state: state.model_copy(update={"champion": state.champion.model_copy(update={"since": long_ago})}),
    )
    with pytest.raises(NoWayBackError, match="Deploy model version 1 again"):
        rollback.execute("record")
    assert service.state().lease is None


def test_a_deleted_config_is_no_way_back_and_the_lease_is_given_back(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    for number in (1, 2):
        approved(service, number, weight=2.0 * number, answers=2.0 * number)
        promotion(f"promote_{number}").run()
    gone = service.state().previous.config_name
    service.aws.client("sagemaker").delete_endpoint_config(EndpointConfigName=gone)
    with pytest.raises(NoWayBackError, match=f"{gone}.*was deleted"):
        rollback.execute("record")
    assert service.state().lease is None


def test_another_runs_lease_is_respected(
    promotion: Callable[..., Promotion], service: Service, rollback: Rollback
) -> None:
    for number in (1, 2):
        approved(service, number, weight=2.0 * number, answers=2.0 * number)
        promotion(f"promote_{number}").run()
    service.states.take_lease(f"{service.spec.name}-prod", "flights.promote/9", purpose="retire", seconds=60)
    with pytest.raises(LeaseHeldError, match=r"flights\.promote/9"):
        rollback.execute("record")


@pytest.mark.long
@pytest.mark.parametrize("route", ["warm", "config"])
def test_each_task_killed_after_each_change_comes_to_the_same_end_with_one_update(
    promotion: Callable[..., Promotion], service: Service, registry: MlflowClient, rollback: Rollback, route: str
) -> None:
    canary = warm_canary(service, promotion)
    if route == "config":
        canary.execute("finish.retire", service.state().champion.release_id)
    since = service.aws.position()

    def killed(name: str) -> int:
        return run_with_kills(lambda: rollback.task(name), rollback.context(name))

    assert killed("record") >= 1
    rollback.way = rollback.execute("record")
    assert rollback.way["route"] == route
    assert killed("switch") >= 1
    rollback.switched = rollback.execute("switch")
    assert killed("champion") >= 2
    assert killed("settle") >= (1 if route == "warm" else 0)
    assert killed("give_back") >= 1
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    assert service.ask("prod", 3.0) == 6.0
    state = service.state()
    assert (state.champion.model_version, state.previous, state.lease) == (1, None, None)
    assert [entry.event for entry in state.history].count("rolled_back") == 1
    assert [action for action, _ in service.ledger()].count("rolled_back") == 1
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1
