"""Application Auto Scaling of variants.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_image
from botocore.exceptions import ClientError
from standin import StandIn, make_config, variant, wait_for, wait_status

from slipway_localaws.autoscaling.tracking import PERIODS_IN, wanted_capacity

DIMENSION = "sagemaker:variant:DesiredInstanceCount"


@pytest.mark.parametrize(
    ("values", "current", "expected"),
    [
        ([None] * 12 + [20.0, 20.0, 20.0], 2, 4),
        ([None] * 12 + [20.0, 25.0, 15.0], 2, 5),
        ([None] * 12 + [20.0, 9.0, 20.0], 2, 2),
        ([9.5] * PERIODS_IN, 4, 4),
        ([5.0] * PERIODS_IN, 4, 2),
        ([None] * PERIODS_IN, 4, 1),
        ([None] * 3, 4, 4),
    ],
)
def test_target_tracking(values: list[float | None], current: int, expected: int) -> None:
    assert wanted_capacity(values, 10.0, current, may_scale_in=True) == expected


def test_scale_in_can_be_switched_off() -> None:
    assert wanted_capacity([0.0] * PERIODS_IN, 10.0, 4, may_scale_in=False) == 4


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A server whose scaling policies look at periods of one second instead of a minute."""
    state: Path = tmp_path_factory.mktemp("scaled")
    server = StandIn(state, "--transition-seconds", "0.3", "--scaling-period-seconds", "1")
    try:
        server.start()
        tiny_image.push(server.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")
        yield server
    finally:
        server.stop()


@pytest.fixture
def endpoint(scaled: StandIn, name: str) -> str:
    sagemaker = scaled.client("sagemaker")
    uri = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway/tiny:v1"
    config = make_config(sagemaker, f"{name}-1", {"main": (1.0, {}), "other": (0.0, {})}, uri)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    wait_status(sagemaker, name, "InService")
    return name


def target(endpoint: str, name: str = "main") -> dict[str, str]:
    resource = f"endpoint/{endpoint}/variant/{name}"
    return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": DIMENSION}


def count(scaled: StandIn, endpoint: str) -> int:
    described = scaled.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    (main,) = [each for each in described["ProductionVariants"] if each["VariantName"] == "main"]
    return int(main["CurrentInstanceCount"])


def track(scaling: Any, endpoint: str, target_value: float, **more: Any) -> None:
    scaling.put_scaling_policy(
        PolicyName="track", PolicyType="TargetTrackingScaling", **target(endpoint),
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": target_value, "ScaleInCooldown": 0, "ScaleOutCooldown": 0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}, **more,
        },
    )  # fmt: skip


@pytest.mark.integration
def test_registration_is_checked(scaled: StandIn, endpoint: str) -> None:
    scaling = scaled.client("application-autoscaling")
    for wrong in (target("no-such-endpoint"), target(endpoint, "no-such-variant")):
        with pytest.raises(ClientError) as caught:
            scaling.register_scalable_target(MinCapacity=1, MaxCapacity=2, **wrong)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError):
        scaling.register_scalable_target(MinCapacity=3, MaxCapacity=2, **target(endpoint))
    with pytest.raises(ClientError) as caught:
        track(scaling, endpoint, 10.0)
    assert caught.value.response["Error"]["Code"] == "ObjectNotFoundException"
    scaling.register_scalable_target(MinCapacity=1, MaxCapacity=4, **target(endpoint))
    (found,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target(endpoint)["ResourceId"]]
    )["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
    assert found["SuspendedState"]["DynamicScalingOutSuspended"] is False
    track(scaling, endpoint, 1e9)
    scaling.deregister_scalable_target(**target(endpoint))
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policies == [], "a target's policies go with it"
    with pytest.raises(ClientError) as caught:
        scaling.deregister_scalable_target(**target(endpoint))
    assert caught.value.response["Error"]["Code"] == "ObjectNotFoundException"


@pytest.mark.integration
def test_capacity_is_brought_within_bounds(scaled: StandIn, endpoint: str) -> None:
    scaling = scaled.client("application-autoscaling")
    scaling.register_scalable_target(MinCapacity=3, MaxCapacity=5, **target(endpoint))
    wait_for(lambda: count(scaled, endpoint) == 3)
    (activity,) = scaling.describe_scaling_activities(
        ServiceNamespace="sagemaker", ResourceId=target(endpoint)["ResourceId"]
    )["ScalingActivities"]
    assert (activity["StatusCode"], activity["Description"]) == ("Successful", "Setting desired instance count to 3.")


@pytest.mark.long
@pytest.mark.integration
def test_traffic_scales_out_and_silence_scales_in(scaled: StandIn, endpoint: str) -> None:
    scaling, runtime = scaled.client("application-autoscaling"), scaled.client("sagemaker-runtime")
    scaling.register_scalable_target(MinCapacity=1, MaxCapacity=3, **target(endpoint))
    suspended = {"DynamicScalingOutSuspended": True, "DynamicScalingInSuspended": True}
    scaling.register_scalable_target(SuspendedState=suspended, **target(endpoint))
    track(scaling, endpoint, 60.0)  # one a second and instance

    def drive(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x")
            time.sleep(0.1)

    drive(8)
    assert count(scaled, endpoint) == 1, "suspended"
    scaling.register_scalable_target(
        SuspendedState={"DynamicScalingOutSuspended": False, "DynamicScalingInSuspended": False}, **target(endpoint)
    )
    drive(8)
    wait_for(lambda: count(scaled, endpoint) == 3)
    wait_for(lambda: count(scaled, endpoint) == 1, 40)


@pytest.mark.integration
def test_a_registered_variant_is_not_removed_by_an_update(scaled: StandIn, endpoint: str) -> None:
    sagemaker, scaling = scaled.client("sagemaker"), scaled.client("application-autoscaling")
    scaling.register_scalable_target(MinCapacity=1, MaxCapacity=4, **target(endpoint))
    without = [variant("other", f"{endpoint}-1-other")]
    bigger = [variant("main", f"{endpoint}-1-main") | {"InstanceType": "ml.m7i.xlarge"}]
    for number, variants in enumerate((without, bigger)):
        config = f"{endpoint}-wrong{number}"
        sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=variants)
        with pytest.raises(ClientError) as caught:
            sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        assert "target for automatic scaling" in caught.value.response["Error"]["Message"]
    scaling.deregister_scalable_target(**target(endpoint))
    sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=f"{endpoint}-wrong0")
    wait_status(sagemaker, endpoint, "InService")


@pytest.mark.integration
def test_deleting_an_endpoint_deregisters_its_targets(scaled: StandIn, endpoint: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-delete-with-scaling.html"""
    sagemaker, scaling = scaled.client("sagemaker"), scaled.client("application-autoscaling")
    scaling.register_scalable_target(MinCapacity=1, MaxCapacity=4, **target(endpoint))
    sagemaker.delete_endpoint(EndpointName=endpoint)
    targets = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[target(endpoint)["ResourceId"]]
    )["ScalableTargets"]
    assert targets == []
