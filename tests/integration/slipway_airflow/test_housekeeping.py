"""What is left behind is put right, and nothing else is touched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.endpoints.resource import wait_until_gone
from slipway.endpoints.scaling import resource_id
from slipway.housekeeping import decisions
from slipway.ledger import Ledger
from slipway.spec import InstancesSpec, ServiceSpec
from slipway.state import EndpointState, Place
from slipway_airflow.operators.housekeeping_approvals import WaitingApprovalOperator
from slipway_airflow.operators.housekeeping_canaries import LostCanaryOperator
from slipway_airflow.operators.housekeeping_champions import OldChampionOperator
from slipway_airflow.operators.housekeeping_resources import IdleEndpointOperator, LeftoverOperator
from slipway_airflow.operators.promotion_retire import PromotionRetireOperator
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from tests.integration.slipway_airflow.canaries import TASKS, Canary, canary_spec, users_of
from tests.integration.slipway_airflow.conftest import BUCKET, REGION, Service, delete_endpoint
from tests.integration.slipway_airflow.kills import run_with_kills
from tests.integration.slipway_airflow.promotions import Promotion, approved

pytestmark = pytest.mark.integration


@pytest.fixture
def tidy(promotion: Callable[..., Promotion], service: Service) -> Callable[..., list[str]]:
    """Run one housekeeping task over the test's own service."""

    def run(kind: Any, *, only_say: bool = False, specs: dict[str, Any] | None = None, **fields: Any) -> list[str]:
        base = promotion("scheduled_1")
        known = {service.spec.name: service.spec} if specs is None else specs
        operator = kind(task_id="tidy", specs=known, platform=base.platform, only_say=only_say, **fields)
        done = operator.execute(base.context("tidy", run_id="scheduled_1"))
        return [each for each in done if service.spec.name in each]

    return run


def lost_canary(service: Service, promotion: Callable[..., Promotion]) -> Canary:
    """A canary with half of the traffic whose run is gone."""
    approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    spec = canary_spec(service)
    base = promotion("promote_2", spec)
    canary = Canary(base.service, base.platform, base.context, "promote_2", spec)
    canary.through("prepare", "step_1.shift")
    service.states.update(f"{service.spec.name}-prod", expire_lease)
    return canary


def expire_lease(state: EndpointState) -> EndpointState:
    over = state.lease.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    return state.model_copy(update={"lease": over})


@pytest.mark.long
def test_a_lost_canary_is_rolled_back_from_its_state_alone(
    promotion: Callable[..., Promotion], service: Service, tidy: Callable[..., list[str]]
) -> None:
    lost_canary(service, promotion)
    recorded = service.state().promotion.recorded.config_name
    assert service.state().promotion.place == Place(
        aws_conn_id="aws_default", account_id="123456789012", region_name=REGION
    )
    since = service.aws.position()
    assert tidy(LostCanaryOperator, only_say=True, specs={})[0].startswith("would: roll back release")
    assert service.aws.changes(since) == []
    with users_of(service) as users:
        (done,) = tidy(LostCanaryOperator, specs={})  # the spec is gone, too
    assert "lost by promote_2" in done
    assert users.failed == []
    assert service.describe("prod")["EndpointConfigName"] == recorded
    assert service.ask("prod", 3.0) == 6.0
    state = service.state()
    assert (state.promotion, state.lease) == (None, None)
    assert state.history[-1].event == "rolled_back"
    assert "the lease of promote_2 ran out" in state.history[-1].reason
    assert service.ledger()[-1][0] == "rolled_back"
    assert tidy(LostCanaryOperator, specs={}) == []


@pytest.mark.long
def test_a_lost_canary_is_rolled_back_with_one_update_though_housekeeping_is_killed(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    lost = lost_canary(service, promotion)
    since = service.aws.position()
    context = lost.context("tidy", run_id="scheduled_1")
    kills = run_with_kills(
        lambda: LostCanaryOperator(task_id="tidy", specs={}, platform=lost.platform),
        context,
    )
    assert kills >= 4
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    assert service.ask("prod", 3.0) == 6.0
    assert service.state().promotion is None


@pytest.mark.long
def test_a_lost_canary_whose_endpoint_is_gone_is_ended(
    promotion: Callable[..., Promotion], service: Service, tidy: Callable[..., list[str]]
) -> None:
    lost_canary(service, promotion)
    delete_endpoint(service.aws.client("sagemaker"), f"{service.spec.name}-prod")
    assert len(tidy(LostCanaryOperator)) == 1
    state = service.state()
    assert (state.promotion, state.lease) == (None, None)
    assert "does not exist any more" in state.history[-1].reason


def test_a_lost_release_at_once_is_taken_back_and_the_champion_scales_again(
    promotion: Callable[..., Promotion], service: Service, tidy: Callable[..., list[str]]
) -> None:
    document = service.spec.model_dump(mode="json", exclude_defaults=True)
    document["stages"]["prod"]["instances"] = {"min": 1, "max": 3, "invocations_per_instance": 100}
    spec = service.spec.model_validate(document)
    first = approved(service, 1)
    promotion(spec=spec).run()
    promotion(spec=spec).make(PromotionRetireOperator, "retire", release_id=first.id, waiter_delay=1).execute(
        promotion().context("retire", run_id="promote_1")
    )
    approved(service, 2, weight=5.0, answers=5.0)
    run = promotion("promote_2", spec)
    run.launch(run.begin()["release_id"])
    service.states.update(f"{service.spec.name}-prod", expire_lease)
    assert len(tidy(LostCanaryOperator, specs={spec.name: spec})) == 1
    assert service.ask("prod", 3.0) == 6.0
    targets = service.aws.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[resource_id(f"{service.spec.name}-prod", first.id)]
    )["ScalableTargets"]
    assert [(each["MinCapacity"], each["MaxCapacity"]) for each in targets] == [(1, 3)]


def test_a_canary_under_its_lease_is_left_alone(
    promotion: Callable[..., Promotion], service: Service, tidy: Callable[..., list[str]]
) -> None:
    approved(service, 1)
    promotion().run()
    approved(service, 2, weight=5.0, answers=5.0)
    base = promotion("promote_2", canary_spec(service))
    Canary(base.service, base.platform, base.context, "promote_2", base.spec).through("prepare", "step_1.shift")
    since = service.aws.position()
    assert tidy(LostCanaryOperator) == []
    assert service.aws.changes(since) == []


def left_beside(service: Service, promotion: Callable[..., Promotion]) -> ServiceSpec:
    """A canary that became the champion two hours ago, and whose run was ended in the warm time."""
    approved(service, 1)
    promotion().run()
    release = approved(service, 2, weight=5.0, answers=5.0)
    spec = canary_spec(service)
    base = promotion("promote_2", spec)
    canary = Canary(base.service, base.platform, base.context, "promote_2", spec)
    with users_of(service):
        canary.through("prepare", *TASKS[2:7])
    assert canary.execute("roll_back", release.id)["rolled_back"] is None
    service.states.update(f"{service.spec.name}-prod", promoted_two_hours_ago)
    prod = spec.stages.prod.model_copy(update={"instances": InstancesSpec(min=1, max=2, invocations_per_instance=100)})
    return spec.model_copy(update={"stages": spec.stages.model_copy(update={"prod": prod})})


def promoted_two_hours_ago(state: EndpointState) -> EndpointState:
    since = datetime.now(UTC) - timedelta(hours=2)
    return state.model_copy(update={"champion": state.champion.model_copy(update={"since": since})})


def assert_alone_and_scaling(service: Service) -> None:
    found, state = service.describe("prod"), service.state()
    assert [variant["VariantName"] for variant in found["ProductionVariants"]] == [state.champion.release_id]
    assert (state.champion.config_name, state.lease) == (found["EndpointConfigName"], None)
    assert service.ask("prod", 3.0) == 15.0
    targets = service.aws.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[resource_id(f"{service.spec.name}-prod", state.champion.release_id)]
    )["ScalableTargets"]
    assert [(each["MinCapacity"], each["MaxCapacity"]) for each in targets] == [(1, 2)]


@pytest.mark.long
def test_a_champion_of_before_that_a_promotion_left_goes(
    promotion: Callable[..., Promotion], service: Service, tidy: Callable[..., list[str]]
) -> None:
    spec = left_beside(service, promotion)
    specs, since = {spec.name: spec}, service.aws.position()
    assert len(service.describe("prod")["ProductionVariants"]) == 2
    warm = spec.model_copy(update={"promote": spec.promote.model_copy(update={"keep_warm_minutes": 90})})
    assert tidy(OldChampionOperator, specs={spec.name: warm}) == []
    service.states.take_lease(f"{spec.name}-prod", "rollback/7", purpose="go back", seconds=60)
    assert tidy(OldChampionOperator, specs=specs) == []
    service.states.release_lease(f"{spec.name}-prod", "rollback/7")
    assert tidy(OldChampionOperator, only_say=True, specs=specs)[0].startswith("would: take ")
    assert service.aws.changes(since).count("UpdateEndpoint") == 0
    with users_of(service) as users:
        (done,) = tidy(OldChampionOperator, specs=specs)
    assert users.failed == []
    assert "left by promote_2" in done
    assert_alone_and_scaling(service)
    assert service.ledger()[-1] == ("updated", f"endpoint {spec.name}-prod")
    assert tidy(OldChampionOperator, specs=specs) == []


@pytest.mark.long
def test_a_champion_of_before_goes_with_one_update_though_housekeeping_is_killed(
    promotion: Callable[..., Promotion], service: Service
) -> None:
    spec, since = left_beside(service, promotion), service.aws.position()
    base = promotion()
    kills = run_with_kills(
        lambda: OldChampionOperator(task_id="tidy", specs={spec.name: spec}, platform=base.platform),
        base.context("tidy", run_id="scheduled_1"),
    )
    assert kills >= 3
    assert service.aws.changes(since).count("UpdateEndpoint") == 1
    assert_alone_and_scaling(service)


def test_an_approval_that_nobody_uses_is_told_once_and_then_lapses(
    service: Service, tidy: Callable[..., list[str]]
) -> None:
    release = approved(service, 1)
    endpoint = f"{service.spec.name}-prod"
    sns, sqs = service.aws.client("sns"), service.aws.client("sqs")
    topic = sns.create_topic(Name=service.spec.name)["TopicArn"]
    queue = sqs.create_queue(QueueName=service.spec.name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    notify = service.spec.notify.model_copy(update={"sns_topic_arn": topic})
    specs = {service.spec.name: service.spec.model_copy(update={"notify": notify})}

    def received() -> list[str]:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"])["Message"] for message in messages]

    def age(hours: float) -> None:
        def older(state: EndpointState) -> EndpointState:
            at = datetime.now(UTC) - timedelta(hours=hours)
            return state.model_copy(update={"approved": state.approved.model_copy(update={"at": at})})

        service.states.update(endpoint, older)

    assert tidy(WaitingApprovalOperator, specs=specs) == []
    age(2)
    assert len(tidy(WaitingApprovalOperator, specs=specs)) == 1
    assert tidy(WaitingApprovalOperator, specs=specs) == []
    (message,) = received()
    assert f"slipway promote {service.spec.name}" in message
    age(169)
    assert "let lapse" in tidy(WaitingApprovalOperator, specs=specs)[0]
    assert service.state().approved is None
    assert "within 168 hours" in received()[0]
    assert [action for action, subject in service.ledger() if release.id in subject] == ["told", "lapsed"]


def launch_dev(service: Service, promotion: Callable[..., Promotion], number: int) -> str:
    release = service.release(number)
    base = promotion()
    operator = base.make(
        SageMakerDeployOperator, "deploy_dev", stage="dev", release_id=release.id, waiter_delay=1, deferrable=False
    )
    operator.execute(base.context("deploy_dev", run_id=f"deploy_{number}"))
    return str(service.describe("dev")["EndpointConfigName"])


@pytest.mark.long
def test_idle_dev_endpoints_and_then_their_leftovers_go_and_can_be_brought_back(
    promotion: Callable[..., Promotion],
    service: Service,
    tidy: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sagemaker = service.aws.client("sagemaker")
    config = launch_dev(service, promotion, 1)
    model = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
    foreign = f"{service.spec.name}-dev-0123456789"
    sagemaker.create_endpoint_config(
        EndpointConfigName=foreign,
        ProductionVariants=[
            {"VariantName": "a", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
    )
    service.ask("dev")
    quick = service.spec.stages.dev.model_copy(update={"keep_hours": 1e-6})
    stages = service.spec.stages.model_copy(update={"dev": quick})
    specs = {service.spec.name: service.spec.model_copy(update={"stages": stages})}

    assert tidy(IdleEndpointOperator) == []
    assert tidy(LeftoverOperator) == []
    # What counts would have to be hours old; the count itself is tested below.
    monkeypatch.setattr(IdleEndpointOperator, "_invocations", lambda *_: 0.0)
    assert tidy(IdleEndpointOperator, specs={}, protected=(service.spec.name,)) == []
    (done,) = tidy(IdleEndpointOperator, specs=specs)
    assert done.startswith(f"delete {service.spec.name}-dev, idle")
    wait_until_gone(sagemaker, f"{service.spec.name}-dev", time.sleep)
    assert tidy(LeftoverOperator) == []  # still young
    monkeypatch.setattr(decisions, "MIN_AGE", timedelta(0))
    assert [each.split(":")[0] for each in tidy(LeftoverOperator)] == [f"delete endpoint config {config}"]
    sagemaker.describe_model(ModelName=model)  # the config of somebody else refers to it
    sagemaker.delete_endpoint_config(EndpointConfigName=foreign)
    assert [each.split(":")[0] for each in tidy(LeftoverOperator)] == [f"delete model {model}"]

    records = Ledger(service.aws.client("s3"), BUCKET).read(service.spec.name)
    restore = {each.subject.split()[-1]: each.detail["restore"] for each in records if each.action == "deleted"}
    sagemaker.create_model(**restore[model])
    sagemaker.create_endpoint_config(**restore[config])
    sagemaker.create_endpoint(**restore[f"{service.spec.name}-dev"])
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName=f"{service.spec.name}-dev", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert service.ask("dev") == 6.0


def test_a_dev_endpoint_that_is_asked_is_not_idle(
    promotion: Callable[..., Promotion], service: Service, tidy: Callable[..., list[str]]
) -> None:
    launch_dev(service, promotion, 1)
    service.ask("dev")
    operator = IdleEndpointOperator(task_id="tidy", specs={}, platform=promotion().platform)
    endpoint = decisions.Resource("endpoint", f"{service.spec.name}-dev", "arn", datetime.now(UTC))
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while operator._invocations("aws_default", endpoint, datetime.now(UTC), 1.0) < 1:
        assert datetime.now(UTC) < deadline, "the request is not counted"
