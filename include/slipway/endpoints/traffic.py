"""Shares and sizes of an endpoint's variants: read, compared, changed, read back.

Between the two UpdateEndpoint calls of a canary only these change. Each call passes the endpoint through ``Updating``
and is waited for; AWS takes the weights of several variants in one call, or the capacity of one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from slipway.aws_errors import aws_call
from slipway.endpoints.outcome import Description
from slipway.endpoints.resource import Sleep
from slipway.endpoints.settle import settled
from slipway.errors import CapacityError, EndpointBusyError, EndpointMissingError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_SAME_WEIGHT = 1e-6


def shares(description: Description) -> dict[str, float]:
    """Each variant's part of the traffic, by its weight; sums to 1, or all are 0. Pure."""
    weights = weights_of(description)
    total = sum(weights.values())
    return {name: weight / total if total else 0.0 for name, weight in weights.items()}


def weights_of(description: Description) -> dict[str, float]:
    """Each variant's weight; AWS may leave out the key of a variant at 0. Pure."""
    return {v["VariantName"]: float(v.get("CurrentWeight", 0.0)) for v in description.get("ProductionVariants", [])}


def instances_of(description: Description) -> dict[str, int]:
    """Each variant's number of instances. Pure."""
    return {v["VariantName"]: int(v.get("CurrentInstanceCount", 0)) for v in description.get("ProductionVariants", [])}


def has_weights(description: Description, weights: Mapping[str, float]) -> bool:
    """Whether these weights are in force. Pure."""
    found = weights_of(description)
    return all(abs(found.get(name, 0.0) - weight) <= _SAME_WEIGHT for name, weight in weights.items())


def ensure_weights(
    sagemaker: SageMakerClient,
    endpoint: str,
    weights: Mapping[str, float],
    *,
    config_name: str,
    sleep: Sleep = time.sleep,
) -> bool:
    """Give the variants their weights and wait until they are in force.

    Args:
        sagemaker: a boto3 SageMaker client.
        endpoint: the endpoint's name.
        weights: all variants' weights, in one call.
        config_name: the config that the endpoint must be on.
        sleep: waits, in seconds.

    Returns:
        Whether a call was needed.

    Raises:
        EndpointMissingError: the endpoint is gone.
        EndpointBusyError: the endpoint is on another config or has other variants: somebody else changed it.
        SlipwayError: AWS refuses, or the weights were not taken.
    """
    found = _on_config(settled(sagemaker, endpoint, sleep), endpoint, config_name, set(weights))
    if has_weights(found, weights):
        return False
    with aws_call(f"change the weights of {endpoint}"):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[
                {"VariantName": name, "DesiredWeight": float(weight)} for name, weight in sorted(weights.items())
            ],
        )
    after = _on_config(settled(sagemaker, endpoint, sleep, since=found), endpoint, config_name, set(weights))
    if not has_weights(after, weights):
        raise EndpointBusyError(
            f"{endpoint} has the weights {weights_of(after)} after it was given {dict(weights)}: somebody else changes "
            "them. Look at CloudTrail for who, then run the task again."
        )
    return True


def ensure_instances(
    sagemaker: SageMakerClient, endpoint: str, variant: str, instances: int, *, sleep: Sleep = time.sleep
) -> bool:
    """Give one variant at least so many instances and wait until they serve.

    Args:
        sagemaker: a boto3 SageMaker client.
        endpoint: the endpoint's name.
        variant: the variant.
        instances: how many it needs; more are left as they are.
        sleep: waits, in seconds.

    Returns:
        Whether a call was needed.

    Raises:
        EndpointMissingError: the endpoint or the variant is gone.
        CapacityError: AWS has no such instances just now: the endpoint settled with fewer.
        SlipwayError: AWS refuses.
    """
    found = settled(sagemaker, endpoint, sleep)
    present = instances_of(found)
    if variant not in present:
        raise EndpointMissingError(f"{endpoint} has no variant {variant}; it has {', '.join(present) or 'none'}.")
    if present[variant] >= instances:
        return False
    with aws_call(f"scale {variant} of {endpoint} to {instances} instances"):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": instances}],
        )
    require_instances(settled(sagemaker, endpoint, sleep, since=found), variant, instances)
    return True


def require_instances(found: Description, variant: str, instances: int) -> None:
    """See that a settled variant has its instances: AWS ends such a change ``InService`` also without them. Pure.

    Args:
        found: DescribeEndpoint's answer.
        variant: the variant.
        instances: how many it needs.

    Raises:
        CapacityError: it has fewer.
    """
    present = instances_of(found).get(variant, 0)
    if present < instances:
        reason = found.get("FailureReason")
        raise CapacityError(
            f"{found['EndpointName']}: variant {variant} has {present} of {instances} instances after it was scaled. "
            f"{f'AWS says: {reason}' if reason else 'AWS gives no reason.'} Try later, or take another instance type."
        )


def require_all_traffic(found: Description, variant: str, advice: str) -> None:
    """See that one variant has all traffic, before what stands beside it is let go. Pure.

    Args:
        found: DescribeEndpoint's answer.
        variant: the variant.
        advice: what to do when it has not, in words.

    Raises:
        EndpointBusyError: others have traffic, or none has.
    """
    weights = weights_of(found)
    if {name for name, weight in weights.items() if weight > 0} != {variant}:
        shown = ", ".join(f"{name} {weight:g}" for name, weight in sorted(weights.items())) or "none"
        raise EndpointBusyError(
            f"{found['EndpointName']}: the weights are {shown}; expected all traffic on {variant}. {advice}"
        )


def _on_config(found: Description, endpoint: str, config_name: str, variants: set[str]) -> Description:
    if found["EndpointConfigName"] != config_name:
        raise EndpointBusyError(
            f"{endpoint} is on config {found['EndpointConfigName']}, expected {config_name}: somebody else updated it "
            "in the middle of a promotion. The promotion ends here."
        )
    present = set(weights_of(found))
    if present != variants:
        raise EndpointBusyError(
            f"{endpoint} has the variants {sorted(present)}, expected {sorted(variants)}: somebody else changed it."
        )
    return found
