"""A promotion from its first task to its teardown, with endpoints that really run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from mlflow import MlflowClient

from slipway.canary.plan import CanaryPlan
from slipway.endpoints.restore import recorded_from
from slipway.endpoints.scaling import suspend_scaling
from slipway.endpoints.traffic import ensure_instances
from slipway.errors import (
    EndpointBusyError,
    EndpointFailedError,
    EndpointRolledBackError,
    LeaseHeldError,
    ModelRegistryUnavailableError,
    SlipwayError,
    SupersededError,
)
from slipway.ledger import Ledger
from slipway.spec import ServiceSpec
from slipway.state import Approval, EndpointState, Flag
from slipway.state import Promotion as PromotionState
from slipway.transition import approve, begin, raise_flag
from slipway_airflow.operators.canary_prepare import CanaryPrepareOperator
from slipway_airflow.operators.canary_shift import CanaryShiftOperator
from slipway_airflow.operators.promotion_begin import PromotionBeginOperator
from slipway_airflow.operators.promotion_finish import PromotionFinishOperator
from slipway_airflow.operators.promotion_launch import PromotionLaunchOperator
from slipway_airflow.operators.promotion_retire import PromotionRetireOperator
from slipway_airflow.operators.promotion_roll_back import PromotionRollBackOperator
from tests.integration.slipway_airflow.canaries import canary_spec
from tests.integration.slipway_airflow.conftest import BUCKET, Service
from tests.integration.slipway_airflow.kills import run_with_kills
from tests.integration.slipway_airflow.promotions import Promotion, approved

pytestmark = pytest.mark.integration


def test_the_first_release_becomes_the_champion(
    promotion: Callable[..., Promotion], service: Service, registry: MlflowClient
) -> None:
    release = approved(service, 1)
    assert promotion().run() == {"rolled_back": None, "restored_config": None, "undone_because": ""}
    state = service.state()
    assert service.ask("prod", 3.0) == 6.0
    assert state.champion.release_id == release.id
    assert state.champion.config_name == service.describe("prod")["EndpointConfigName"]
    assert (state.promotion, state.approved, state.lease) == (None, None, None)
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1
    assert [action for action, _ in service.ledger()] == ["began", "created", "promoted", "pointed"]


def test_the_next_release_takes_all_traffic(
    promotion: Callable[..., Promotion], service: Service, registry: MlflowClient
) -> None:
    first = approved(service, 1)
    promotion().run()
    second = approved(service, 2, weight=5.0, answers=5.0)
    promotion("promote_2").run()
    state = service.state()
    assert service.ask("prod", 3.0) == 15.0
    assert (state.champion.release_id, state.previous.release_id) == (second.id, first.id)
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 2


def test_nothing_to_promote_skips_and_changes_nothing(promotion: Callable[..., Promotion], service: Service) -> None:
    with pytest.raises(AirflowSkipException, match="no approved release"):
        promotion().begin()
    approved(service, 1)
    promotion().run()
    since = service.aws.position()
    with pytest.raises(AirflowSkipException):
        promotion("promote_2").begin()
    assert service.aws.changes(since) == []


def test_a_first_launch_that_fails_is_removed(promotion: Callable[..., Promotion], service: Service) -> None:
    release = approved(service, 1)
    with pytest.raises(EndpointFailedError, match="sklearn"):
        promotion(spec=service.with_environment(BROKEN="yes")).run()
    assert service.describe("prod") is None
    state = service.state()
    assert (state.champion, state.promotion, state.lease) == (None, None, None)
    assert state.history[-1].event == "rolled_back"
    assert state.history[-1].reason == "failed: launch"
    deleted = [subject.split()[0] for action, subject in service.ledger() if action == "deleted"]
    assert deleted == ["endpoint", "endpoint", "model"]
    assert ("rolled_back", f"release {release.id}") in service.ledger()
    sagemaker = service.aws.client("sagemaker")
    assert sagemaker.list_endpoint_configs(NameContains=service.spec.name)["EndpointConfigs"] == []


def test_a_first_launch_is_removed_though_the_spec_was_edited_before(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    approved(service, 1)
    broken = promotion(spec=service.with_environment(BROKEN="yes"))
    release_id = broken.begin()["release_id"]
    with pytest.raises(EndpointFailedError, match="sklearn"):
        broken.launch(release_id)
    launched = service.describe("prod")["EndpointConfigName"]
    assert service.state().promotion.launched == (launched,)
    larger = service.spec.stages.prod.model_copy(update={"instance_type": "ml.c6i.xlarge"})
    stages = service.spec.stages.model_copy(update={"prod": larger})
    edited = promotion(spec=service.spec.model_copy(update={"stages": stages}))
    assert edited.roll_back(launch="failed")["rolled_back"] == release_id
    assert service.describe("prod") is None
    assert service.state().promotion is None
    sagemaker = service.aws.client("sagemaker")
    assert sagemaker.list_endpoint_configs(NameContains=service.spec.name)["EndpointConfigs"] == []
    assert sagemaker.list_models(NameContains=service.spec.name)["Models"] == []
    deleted = [subject.split()[0] for action, subject in service.ledger() if action == "deleted"]
    assert deleted == ["endpoint", "endpoint", "model"]


def test_a_release_that_answers_wrongly_in_production_is_taken_back(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    first = approved(service, 1)
    promotion().run()
    config = service.describe("prod")["EndpointConfigName"]
    approved(service, 2, weight=5.0, answers=2.0)
    with pytest.raises(SlipwayError, match="does not answer as the original model"):
        promotion("promote_2").run()
    assert service.describe("prod")["EndpointConfigName"] == config
    assert service.ask("prod", 3.0) == 6.0
    state = service.state()
    assert state.champion.release_id == first.id
    assert (state.promotion, state.lease) == (None, None)


def test_an_update_that_sagemaker_took_back_itself_leaves_nothing_to_restore(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    first = approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    service.aws.faults({"effect": "silent_rollback", "endpoint": f"{service.spec.name}-prod"})
    since = service.aws.position()
    with pytest.raises(EndpointRolledBackError):
        promotion("promote_2").run()
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    assert service.state().champion.release_id == first.id


def test_a_run_that_was_marked_failed_is_rolled_back(promotion: Callable[..., Promotion], service: Service) -> None:
    approved(service, 1)
    promotion().run()
    config = service.describe("prod")["EndpointConfigName"]
    second = approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2")
    run.begin()
    run.launch(second.id)
    back = run.roll_back({"by": "dana", "at": "2100-01-01T00:00:00+00:00"}, launch="failed")
    assert (back["rolled_back"], back["restored_config"]) == (second.id, config)
    why = f"Release {second.id} was rolled back: the run was marked as failed by dana."
    assert back["undone_because"] == why
    assert run.roll_back()["undone_because"] == why, "a try that was killed at its very end has rolled back as well"
    assert service.ask("prod", 3.0) == 6.0
    last = service.state().history[-1]
    noted = next(
        each
        for each in Ledger(service.aws.client("s3"), BUCKET).read(service.spec.name)
        if each.action == "rolled_back"
    )
    assert (last.by, last.reason) == ("dana", "the run was marked as failed by dana")
    assert (noted.user, noted.detail["cause"]) == ("dana", last.reason)


@pytest.mark.long
def test_a_run_that_was_ended_in_mid_update_is_rolled_back(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    approved(service, 1)
    promotion().run()
    config = service.describe("prod")["EndpointConfigName"]
    second = approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2", spec=service.with_environment(LOADING_SECONDS="6"))
    run.begin()
    operator = run.make(PromotionLaunchOperator, "launch", release_id=second.id, deferrable=True, waiter_delay=1)
    with pytest.raises(TaskDeferred):
        operator.execute(run.context("launch", run_id="promote_2"))
    assert service.describe("prod")["EndpointStatus"] == "Updating"
    assert run.roll_back()["restored_config"] == config
    assert service.describe("prod")["EndpointConfigName"] == config


@pytest.fixture
def mlflow_down(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Let MLflow not answer for a while."""

    @contextmanager
    def down() -> Iterator[None]:
        with monkeypatch.context() as changed:
            changed.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            nowhere = {"conn_type": "http", "host": "127.0.0.1", "port": 1}
            changed.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(nowhere))
            with pytest.raises(ModelRegistryUnavailableError):
                yield

    return down


def test_what_was_finished_is_not_rolled_back_though_the_registry_is_down(
    promotion: Callable[..., Promotion],
    service: Service,
    registry: MlflowClient,
    mlflow_down: Callable[[], AbstractContextManager[None]],
) -> None:
    release = approved(service, 1)
    run = promotion()
    run.begin()
    config = run.launch(release.id)["config_name"]
    with mlflow_down():
        run.finish(config)
    assert run.roll_back(finish="failed")["rolled_back"] is None
    assert service.ask("prod", 3.0) == 6.0
    assert service.state().lease is None
    run.finish(config)
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1


def test_the_last_tasks_cleared_with_what_follows_do_what_is_left_though_another_release_waits(
    promotion: Callable[..., Promotion],
    service: Service,
    registry: MlflowClient,
    mlflow_down: Callable[[], AbstractContextManager[None]],
) -> None:
    """Airflow runs ``record`` again with them, and would skip them all if it skipped."""
    release, run = approved(service, 1), promotion()
    first = run.begin()
    config = run.launch(release.id)["config_name"]
    with mlflow_down():
        run.finish(config)
    run.roll_back(finish="failed")
    waits = approved(service, 2, weight=5.0, answers=5.0)
    assert run.begin() == first
    run.finish(config)
    run.make(PromotionRetireOperator, "retire", release_id=first["release_id"], waiter_delay=1).execute(
        run.context("retire", run_id="promote_1")
    )
    assert run.roll_back()["undone_because"] == ""
    state = service.state()
    assert (state.champion.release_id, state.approved.release_id) == (release.id, waits.id)
    assert (state.promotion, state.lease) == (None, None)
    assert service.ask("prod", 3.0) == 6.0
    assert int(registry.get_model_version_by_alias(service.spec.model, "champion").version) == 1
    assert [action for action, _ in service.ledger()].count("promoted") == 1


def test_the_whole_of_a_finished_run_may_be_cleared_and_changes_nothing(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    release, run = approved(service, 1), promotion()
    run.run()
    since = service.aws.position()
    assert run.begin()["release_id"] == release.id
    prepare = run.make(CanaryPrepareOperator, "prepare", release_id=release.id, waiter_delay=1, deferrable=False)
    with pytest.raises(AirflowSkipException, match="is the champion already"):
        prepare.execute(run.context("prepare", run_id="promote_1"))
    shift = run.make(CanaryShiftOperator, "shift", step="final")
    with pytest.raises(AirflowSkipException, match="is the champion already"):
        shift.execute(run.context("finish.shift", run_id="promote_1"))
    run.finish("None")  # what Airflow makes of the XCom of a task that was skipped
    run.roll_back()
    assert {change for change in service.aws.changes(since) if change != "PutObject"} == set()
    assert service.state().lease is None


def test_a_task_that_was_given_another_release_retires_nothing(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    approved(service, 1)
    promotion().run()
    other = approved(service, 2, weight=5.0, answers=5.0)
    retire = promotion().make(PromotionRetireOperator, "retire", release_id=other.id, waiter_delay=1)
    with pytest.raises(SupersededError, match=f"not {other.id}"):
        retire.execute(promotion().context("retire", run_id="promote_1"))
    assert service.ask("prod", 3.0) == 6.0


def test_another_runs_lease_is_respected(promotion: Callable[..., Promotion], service: Service) -> None:
    approved(service, 1)
    service.states.take_lease(f"{service.spec.name}-prod", "undeploy/7", purpose="undeploy", seconds=60)
    with pytest.raises(LeaseHeldError, match="undeploy/7"):
        promotion().begin()
    assert service.state().approved is not None


def test_a_frozen_endpoint_is_left_alone_and_its_lease_given_back(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    approved(service, 1)
    frozen = Flag(by="ann", at=datetime.now(UTC), reason="audit")
    service.states.update(f"{service.spec.name}-prod", lambda state: raise_flag(state, "frozen", frozen))
    with pytest.raises(EndpointBusyError, match="frozen"):
        promotion().begin()
    state = service.state()
    assert state.lease is None
    assert state.approved is not None


@pytest.mark.long
def test_each_task_killed_after_each_change_comes_to_the_same_end(
    promotion: Callable[..., Promotion], service: Service, registry: MlflowClient
) -> None:
    release, run, since = approved(service, 1), promotion(), service.aws.position()
    tasks: list[tuple[str, Callable[[], Any]]] = [
        ("record", lambda: run.make(PromotionBeginOperator, "record")),
        ("launch", lambda: run.make(PromotionLaunchOperator, "launch", release_id=release.id, waiter_delay=1)),
        (
            "finish",
            lambda: run.make(
                PromotionFinishOperator, "finish", config_name=service.describe("prod")["EndpointConfigName"]
            ),
        ),
        ("roll_back", lambda: run.make(PromotionRollBackOperator, "roll_back")),
    ]
    kills = {task_id: run_with_kills(make, run.context(task_id, run_id="promote_1")) for task_id, make in tasks}
    assert kills["record"] >= 2
    assert kills["launch"] >= 3
    assert kills["finish"] >= 2
    made = [action for action in service.aws.changes(since) if action.startswith(("Create", "Update", "Delete"))]
    assert sorted(made) == ["CreateEndpoint", "CreateEndpointConfig", "CreateModel"]
    state = service.state()
    assert state.champion.release_id == release.id
    assert (state.promotion, state.lease) == (None, None)
    assert [entry.event for entry in state.history] == ["approved", "begun", "promoted"]


@pytest.mark.long
def test_a_rollback_killed_after_each_change_updates_only_once(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    approved(service, 1)
    promotion().run()
    second = approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2")
    run.begin()
    run.launch(second.id)
    since = service.aws.position()
    kills = run_with_kills(
        lambda: run.make(PromotionRollBackOperator, "roll_back"),
        run.context("roll_back", run_id="promote_2", states={"verify": "failed"}),
    )
    assert kills >= 3
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    assert service.ask("prod", 3.0) == 6.0
    assert service.state().lease is None


def test_a_launch_waits_until_a_change_of_the_champions_size_is_done(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    spec = slow_and_scaling(service)
    first = approved(service, 1)
    promotion(spec=spec).run()
    second = approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2", spec)
    run.begin()
    begin_to_scale(service, first.id)
    config_name = run.launch(second.id)["config_name"]
    assert service.ask("prod", 3.0) == 15.0
    config = service.aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config_name)
    assert config["ProductionVariants"][0]["InitialInstanceCount"] == 2, "as many as the champion came to"
    assert service.state().promotion.recorded.variants[first.id].instances == 2, "as many as a rollback brings back"


def test_a_release_that_scales_becomes_the_champion_all_the_same(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    spec = slow_and_scaling(service)
    approved(service, 1)
    promotion(spec=spec).run()
    second = approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2", spec)
    run.begin()
    config_name = run.launch(second.id)["config_name"]
    begin_to_scale(service, second.id)
    run.finish(config_name)
    assert service.state().champion.release_id == second.id


def slow_and_scaling(service: Service) -> ServiceSpec:
    """The service with a model that takes its time to load, so that a change of size can be met under way."""
    document = service.with_environment(LOADING_SECONDS="4").model_dump(mode="json", exclude_defaults=True)
    document["stages"]["prod"]["instances"] = {"min": 1, "max": 3, "invocations_per_instance": 100}
    return ServiceSpec.model_validate(document)


def begin_to_scale(service: Service, variant: str) -> None:
    service.aws.client("sagemaker").update_endpoint_weights_and_capacities(
        EndpointName=f"{service.spec.name}-prod",
        DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": 2}],
    )
    assert service.describe("prod")["EndpointStatus"] == "Updating"


def test_a_release_that_serves_already_is_not_compared_with_itself(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    first = approved(service, 1)
    promotion().run()
    endpoint = f"{service.spec.name}-prod"
    lost = EndpointState(endpoint=endpoint)  # a first launch whose run was lost after the endpoint served
    now = datetime.now(UTC)
    waits = approve(lost, Approval(release_id=first.id, model_version=1, by="ann", at=now, run_id="deploy_again"))
    service.states.update(endpoint, lambda _: waits)
    run = promotion("promote_2", canary_spec(service))
    with pytest.raises(EndpointBusyError, match=f"already serves release {first.id}.*slipway undeploy"):
        run.begin()
    state = service.state()
    assert (state.promotion, state.lease, state.approved) == (None, None, waits.approved)
    plan = CanaryPlan(
        challenger=first.id, champion=first.id, weights_pct=(50,), bake_seconds=1, max_hold_seconds=1, alpha=0.05
    )
    recorded = recorded_from(service.describe("prod"))
    of_an_older_version = PromotionState(
        run_id="promote_2",
        release_id=first.id,
        model_version=1,
        strategy="canary",
        begun_at=now,
        plan=plan,
        recorded=recorded,
    )
    service.states.update(endpoint, lambda state: begin(state, of_an_older_version, by="ann"))
    run.roll_back(prepare="failed")
    assert recorded_from(service.describe("prod")) == recorded, "with its traffic"
    assert service.ask("prod", 3.0) == 6.0


def test_the_next_release_takes_all_traffic_from_one_that_scales_and_a_rollback_lets_it_scale_again(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    instances = {"min": 1, "max": 3, "invocations_per_instance": 100}
    document = service.spec.model_dump(mode="json", exclude_defaults=True)
    document["stages"]["prod"]["instances"] = instances
    spec = service.spec.model_validate(document)
    first = approved(service, 1)
    promotion(spec=spec).run()
    retire = promotion(spec=spec).make(PromotionRetireOperator, "retire", release_id=first.id, waiter_delay=1)
    retire.execute(promotion().context("retire", run_id="promote_1"))
    scaling = service.aws.client("application-autoscaling")

    def scaled() -> set[str]:
        targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        return {each["ResourceId"] for each in targets if f"/{service.spec.name}-prod/" in each["ResourceId"]}

    assert scaled() == {f"endpoint/{service.spec.name}-prod/variant/{first.id}"}
    endpoint, sagemaker = f"{service.spec.name}-prod", service.aws.client("sagemaker")
    suspend_scaling(scaling, endpoint, first.id)  # or the size would follow the traffic, of which there is none
    ensure_instances(sagemaker, endpoint, first.id, 2)
    second = approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2", spec)
    run.begin()
    launched = run.launch(second.id)["config_name"]
    assert service.ask("prod", 3.0) == 15.0
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=launched)["ProductionVariants"]
    assert (variant["VariantName"], variant["InitialInstanceCount"]) == (second.id, 2), "as many as the champion had"
    assert scaled() == {f"endpoint/{service.spec.name}-prod/variant/{second.id}"}
    since = service.aws.position()
    assert run.launch(second.id)["config_name"] == launched, "another try asks for the same config"
    assert "UpdateEndpoint" not in service.aws.changes(since)
    run.roll_back(verify="failed")
    assert service.ask("prod", 3.0) == 6.0
    assert scaled() == {f"endpoint/{service.spec.name}-prod/variant/{first.id}"}
