"""Target-tracking scaling of a variant: registered from the spec, suspended in a canary, removed before its variant.

The target is ``endpoint/<endpoint>/variant/<variant>`` and the metric SageMaker's own
``SageMakerVariantInvocationsPerInstance``
(https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-policy.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from slipway.aws_errors import aws_call
from slipway.spec import InstancesSpec

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient

_NAMESPACE: Final = "sagemaker"
_DIMENSION: Final = "sagemaker:variant:DesiredInstanceCount"
_POLICY = "slipway-invocations-per-instance"
_SUSPENDED = {
    "DynamicScalingInSuspended": True,
    "DynamicScalingOutSuspended": True,
    "ScheduledScalingSuspended": True,
}
_RUNNING = dict.fromkeys(_SUSPENDED, False)


def resource_id(endpoint: str, variant: str) -> str:
    """Name a variant as Application Auto Scaling does."""
    return f"endpoint/{endpoint}/variant/{variant}"


def ensure_scaling(
    scaling: ApplicationAutoScalingClient, endpoint: str, variant: str, instances: InstancesSpec
) -> bool:
    """Let a variant scale as the spec says; nothing is called when it already does, or has a fixed size.

    Args:
        scaling: a boto3 Application Auto Scaling client.
        endpoint: the endpoint's name.
        variant: the variant.
        instances: limits, target and cool-down.

    Returns:
        Whether anything had to be changed.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    if not instances.scales:
        return remove_scaling(scaling, endpoint, variant)
    target, policy = _target(scaling, endpoint, variant), _policy(scaling, endpoint, variant)
    wanted_target = {"MinCapacity": instances.min, "MaxCapacity": instances.max}
    wanted_policy = _configuration(instances)
    changed = False
    if target is None or {key: target[key] for key in wanted_target} != wanted_target or _is_suspended(target):
        _register(scaling, endpoint, variant, **wanted_target, SuspendedState=_RUNNING)
        changed = True
    if policy is None or policy["TargetTrackingScalingPolicyConfiguration"] != wanted_policy:
        with aws_call(f"set the scaling policy of {variant} of {endpoint}"):
            scaling.put_scaling_policy(
                PolicyName=_POLICY,
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration=wanted_policy,  # type: ignore[arg-type]
                **_names(endpoint, variant),
            )
        changed = True
    return changed


def suspend_scaling(scaling: ApplicationAutoScalingClient, endpoint: str, variant: str) -> bool:
    """Keep a variant at its size, so that the champion can take all traffic back at any moment of a canary.

    Returns:
        Whether it had to be suspended; False when it does not scale or is suspended.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    target = _target(scaling, endpoint, variant)
    if target is None or _is_suspended(target):
        return False
    _register(scaling, endpoint, variant, SuspendedState=_SUSPENDED)
    return True


def resume_scaling(scaling: ApplicationAutoScalingClient, endpoint: str, variant: str) -> bool:
    """Let a suspended variant scale again.

    Returns:
        Whether it was suspended.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    target = _target(scaling, endpoint, variant)
    if target is None or not _is_suspended(target):
        return False
    _register(scaling, endpoint, variant, SuspendedState=_RUNNING)
    return True


def remove_scaling(scaling: ApplicationAutoScalingClient, endpoint: str, variant: str) -> bool:
    """Take a variant's scaling away, as AWS demands before the variant is removed.

    Returns:
        Whether there was any.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    if _target(scaling, endpoint, variant) is None:
        return False
    with aws_call(f"end the scaling of {variant} of {endpoint}"):
        scaling.deregister_scalable_target(**_names(endpoint, variant))
    return True


def _register(scaling: ApplicationAutoScalingClient, endpoint: str, variant: str, **changes: Any) -> None:
    with aws_call(f"set the scaling of {variant} of {endpoint}"):
        scaling.register_scalable_target(**_names(endpoint, variant), **changes)


def _target(scaling: ApplicationAutoScalingClient, endpoint: str, variant: str) -> dict[str, Any] | None:
    with aws_call(f"read the scaling of {endpoint}"):
        found = scaling.describe_scalable_targets(
            ServiceNamespace=_NAMESPACE, ResourceIds=[resource_id(endpoint, variant)], ScalableDimension=_DIMENSION
        )["ScalableTargets"]
    return dict(found[0]) if found else None


def _policy(scaling: ApplicationAutoScalingClient, endpoint: str, variant: str) -> dict[str, Any] | None:
    with aws_call(f"read the scaling policy of {endpoint}"):
        found = scaling.describe_scaling_policies(PolicyNames=[_POLICY], **_names(endpoint, variant))
    policies = found["ScalingPolicies"]
    return dict(policies[0]) if policies else None


def _is_suspended(target: dict[str, Any]) -> bool:
    return any((target.get("SuspendedState") or {}).values())


def _configuration(instances: InstancesSpec) -> dict[str, Any]:
    return {
        "TargetValue": float(instances.invocations_per_instance or 0),
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        "ScaleInCooldown": instances.scale_in_cooldown_seconds,
        "ScaleOutCooldown": instances.scale_out_cooldown_seconds,
    }


def _names(endpoint: str, variant: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": _NAMESPACE,
        "ResourceId": resource_id(endpoint, variant),
        "ScalableDimension": _DIMENSION,
    }
