"""A service is taken out of SageMaker: all of it, nothing else, and by a dry run nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from mlflow import MlflowClient

from slipway.alarms.apply import apply_alarms
from slipway.endpoints.scaling import ensure_scaling, resource_id
from slipway.errors import EndpointBusyError, LeaseHeldError
from slipway.ledger import Ledger
from slipway.spec import InstancesSpec, ServiceSpec
from slipway_airflow.operators.endpoint_undeploy import EndpointUndeployOperator
from slipway_airflow.operators.image_remove import ImageRemoveOperator
from tests.integration.slipway_airflow.conftest import BUCKET, Service
from tests.integration.slipway_airflow.kills import run_with_kills
from tests.integration.slipway_airflow.promotions import Promotion, approved

pytestmark = pytest.mark.integration

RUN = "undeploy_1"


def scaling_spec(service: Service) -> ServiceSpec:
    prod = service.spec.stages.prod
    instances = InstancesSpec(min=1, max=2, invocations_per_instance=100)
    stages = service.spec.stages.model_copy(update={"prod": prod.model_copy(update={"instances": instances})})
    return service.spec.model_copy(update={"stages": stages})


def undeploy(base: Promotion, **fields: Any) -> EndpointUndeployOperator:
    fields = {"stage": "prod", **fields}
    return EndpointUndeployOperator(task_id="prod", spec=base.spec, platform=base.platform, **fields)


def of_service(service: Service) -> dict[str, list[str]]:
    """Names of everything in SageMaker, scaling and CloudWatch that is the service's."""
    name, sagemaker = service.spec.name, service.aws.client("sagemaker")
    scaling, cloudwatch = service.aws.client("application-autoscaling"), service.aws.client("cloudwatch")
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    found = {
        "endpoints": [each["EndpointName"] for each in sagemaker.list_endpoints()["Endpoints"]],
        "configs": [each["EndpointConfigName"] for each in sagemaker.list_endpoint_configs()["EndpointConfigs"]],
        "models": [each["ModelName"] for each in sagemaker.list_models()["Models"]],
        "targets": [each["ResourceId"] for each in targets],
        "alarms": [each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]],
    }
    ours = {kind: sorted(each for each in names if name in each) for kind, names in found.items()}
    return {kind: names for kind, names in ours.items() if names}


@pytest.fixture
def launched(service: Service, promotion: Callable[..., Promotion]) -> Promotion:
    """Version 1 in production, with scaling and alarms."""
    approved(service, 1)
    base = promotion("promote_1", scaling_spec(service))
    base.run()
    endpoint, variant = f"{service.spec.name}-prod", service.state().champion.release_id
    scaling = service.aws.client("application-autoscaling")
    ensure_scaling(scaling, endpoint, variant, base.spec.stages.prod.instances)
    apply_alarms(service.aws.client("cloudwatch"), service.spec, variant)
    return base


def test_a_dry_run_says_what_would_go_and_changes_nothing(launched: Promotion, service: Service) -> None:
    since, before = service.aws.position(), of_service(service)
    said = undeploy(launched, only_say=True).execute(launched.context("prod", run_id=RUN))
    assert service.aws.changes(since) == []
    would = [each.rpartition(" ")[2] for each in said["would_delete"]]
    assert would == [*before["alarms"], "dashboard", *before["endpoints"], *before["configs"], *before["models"]]
    assert service.ask("prod") == 6.0


@pytest.mark.long
def test_all_of_it_goes_though_the_task_is_killed_and_the_next_release_is_launched(
    launched: Promotion, service: Service, registry: MlflowClient, promotion: Callable[..., Promotion]
) -> None:
    variant = service.state().champion.release_id
    assert of_service(service)["targets"] == [resource_id(f"{service.spec.name}-prod", variant)]
    assert "champion" in registry.get_registered_model(service.spec.model).aliases
    since = service.aws.position()
    kills = run_with_kills(lambda: undeploy(launched), launched.context("prod", run_id=RUN))
    assert kills >= 6
    assert of_service(service) == {}
    changes = service.aws.changes(since)
    assert [changes.count(each) for each in ("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel")] == [1, 1, 1]
    state = service.state()
    assert (state.champion, state.previous, state.approved, state.lease) == (None, None, None, None)
    assert (state.history[-1].event, state.history[-1].by) == ("undeployed", "carol")
    assert "champion" not in registry.get_registered_model(service.spec.model).aliases
    records = Ledger(service.aws.client("s3"), BUCKET).read(service.spec.name)
    removed = {each.subject: each.detail.get("restore") for each in records if each.action == "deleted"}
    assert removed[f"endpoint {service.spec.name}-prod"]["EndpointConfigName"]
    assert [each.action for each in records].count("undeployed") == 1

    approved(service, 2, weight=5.0, answers=5.0)
    promotion("promote_2").run()
    assert service.ask("prod") == 15.0


@pytest.mark.long
def test_a_promotion_under_way_and_anothers_lease_are_respected(
    launched: Promotion, service: Service, promotion: Callable[..., Promotion]
) -> None:
    service.states.take_lease(f"{service.spec.name}-prod", "rollback/1", purpose="go back", seconds=60)
    since = service.aws.position()
    with pytest.raises(LeaseHeldError, match="go back"):
        undeploy(launched).execute(launched.context("prod", run_id=RUN))
    service.states.release_lease(f"{service.spec.name}-prod", "rollback/1")
    approved(service, 2, weight=5.0, answers=5.0)
    promotion("promote_2").begin()
    with pytest.raises(EndpointBusyError, match="slipway abort"):
        undeploy(launched, only_say=True).execute(launched.context("prod", run_id=RUN))
    assert not [each for each in service.aws.changes(since) if each.startswith("Delete")]
    assert service.ask("prod") == 6.0


def test_the_stage_that_was_not_asked_for_and_images_of_an_archive_are_skipped(
    launched: Promotion, service: Service
) -> None:
    running = launched.context("dev", run_id=RUN)
    with pytest.raises(AirflowSkipException, match="about prod alone"):
        undeploy(launched, stage="dev", asked="prod").execute(running)
    with pytest.raises(AirflowSkipException, match="kept"):
        launched.make(ImageRemoveOperator, "images").execute(running)


def test_without_archive_the_repository_goes_with_its_images(launched: Promotion, service: Service) -> None:
    repository = f"slipway/{service.spec.name}"
    operator = launched.make(ImageRemoveOperator, "images", archive=False, only_say=True)
    since, running = service.aws.position(), launched.context("images", run_id=RUN)
    assert operator.execute(running) == {"repository": repository, "would_delete": ["v1"]}
    assert service.aws.changes(since) == []
    gone = launched.make(ImageRemoveOperator, "images", archive=False).execute(running)
    assert gone == {"repository": repository, "deleted": ["v1"]}
    with pytest.raises(AirflowSkipException, match="no repository"):
        launched.make(ImageRemoveOperator, "images", archive=False).execute(running)


@pytest.mark.long
def test_an_endpoint_that_is_in_the_middle_of_a_change_is_waited_for(launched: Promotion, service: Service) -> None:
    """Scaling may have begun to add an instance a moment ago."""
    sagemaker, name = service.aws.client("sagemaker"), f"{service.spec.name}-prod"
    variant = service.state().champion.release_id
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": 2}]
    )
    began = datetime.now(UTC)
    undeploy(launched).execute(launched.context("prod", run_id=RUN))
    assert datetime.now(UTC) - began < timedelta(minutes=5)
    assert service.describe("prod") is None
