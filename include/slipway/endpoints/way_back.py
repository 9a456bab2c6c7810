"""Undo a promotion that has a champion to go back to, from what its state recorded.

First the champion has its size and all traffic again: harm stops there. Then the recorded config is restored and the
challenger is gone.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipway.endpoints.resource import describe
from slipway.endpoints.restore import restore_config
from slipway.endpoints.scaling import remove_scaling, resume_scaling
from slipway.endpoints.settle import settled
from slipway.endpoints.traffic import ensure_instances, ensure_weights, instances_of
from slipway.endpoints.two_variants import split
from slipway.errors import CapacityError

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_sagemaker import SageMakerClient

    from slipway.state import Promotion, Recorded


def take_back(
    sagemaker: SageMakerClient,
    scaling: ApplicationAutoScalingClient,
    endpoint: str,
    promotion: Promotion,
    recorded: Recorded,
) -> datetime | None:
    """Put an endpoint back to what a promotion recorded.

    Called again after a kill, it finds the weights and its own update.

    Args:
        sagemaker: a boto3 SageMaker client.
        scaling: a boto3 Application Auto Scaling client.
        endpoint: the endpoint's name.
        promotion: the promotion that is undone.
        recorded: what the endpoint served before it.

    Returns:
        When the champion had all traffic again; None when the endpoint was not on the canary's config.

    Raises:
        EndpointMissingError: the endpoint is gone, so nothing can be put back.
        SlipwayError: AWS does not answer or refuses, or the recorded config does not get healthy any more.
    """
    back_at = stop_harm(sagemaker, endpoint, promotion, recorded)
    _let_go_of_others(sagemaker, scaling, endpoint, recorded)
    restore_config(sagemaker, endpoint, recorded)
    for variant in recorded.variants:
        resume_scaling(scaling, endpoint, variant)
    return back_at


def stop_harm(sagemaker: SageMakerClient, endpoint: str, promotion: Promotion, recorded: Recorded) -> datetime | None:
    """Give the champion of a canary its size and all traffic again; the config stays.

    Args:
        sagemaker: a boto3 SageMaker client.
        endpoint: the endpoint's name.
        promotion: the promotion that is undone.
        recorded: what the endpoint served before it.

    Returns:
        When the champion had all traffic again; None when the endpoint was not on the canary's config.

    Raises:
        EndpointMissingError: the endpoint is gone.
        SlipwayError: AWS does not answer or refuses.
    """
    plan = promotion.plan
    if plan is None or plan.champion == plan.challenger:  # older versions began a canary of the champion with itself
        return None
    found = settled(sagemaker, endpoint, time.sleep)  # a try that was killed may have asked for the old config already
    if set(instances_of(found)) != {plan.champion, plan.challenger}:
        return None
    weights = split(plan.champion, plan.challenger, 0.0)
    ensure_weights(sagemaker, endpoint, weights, config_name=found["EndpointConfigName"])
    with suppress(CapacityError):  # it has the traffic; its size is asked for again when its config is restored
        ensure_instances(sagemaker, endpoint, plan.champion, recorded.variants[plan.champion].instances)
    return datetime.now(UTC)


def _let_go_of_others(
    sagemaker: SageMakerClient, scaling: ApplicationAutoScalingClient, endpoint: str, recorded: Recorded
) -> None:
    """AWS refuses to take a variant away that is registered for scaling."""
    found = describe(sagemaker, "endpoint", endpoint)
    for variant in instances_of(found) if found else ():
        if variant not in recorded.variants:
            remove_scaling(scaling, endpoint, variant)
