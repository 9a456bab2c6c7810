"""Put an endpoint back on the config that was recorded before a promotion."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call
from slipway.endpoints.outcome import Description, endpoint_outcome
from slipway.endpoints.previous import solo_config
from slipway.endpoints.resource import Sleep, ensure_resource, tags_of
from slipway.endpoints.settle import settled
from slipway.endpoints.traffic import require_instances
from slipway.state import Recorded, VariantShare

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DesiredWeightAndCapacityTypeDef


def recorded_from(description: Description | None) -> Recorded | None:
    """Note what an endpoint serves. Pure.

    Args:
        description: DescribeEndpoint's answer; None when there is no such endpoint.

    Returns:
        Its config with weight and number of instances of each variant, or None. A variant of weight 0 may come
        without the key.
    """
    if description is None:
        return None
    shares = {
        variant["VariantName"]: VariantShare(
            weight=variant.get("CurrentWeight", 0.0), instances=variant.get("CurrentInstanceCount", 0)
        )
        for variant in description.get("ProductionVariants", [])
    }
    return Recorded(config_name=description["EndpointConfigName"], variants=shares)


def ensure_solo_config(
    sagemaker: SageMakerClient, service: str, config: Mapping[str, Any], variant: str, instances: int
) -> str:
    """Make the endpoint config that serves one variant of another config alone, if it is not there.

    Args:
        sagemaker: a boto3 SageMaker client.
        service: the service's name.
        config: DescribeEndpointConfig's answer for the config with the variant.
        variant: the variant's name.
        instances: how many instances it needs.

    Returns:
        The config's name.

    Raises:
        SlipwayError: AWS refuses, or something else has that name.
    """
    request = solo_config(service, config, variant, instances, tags_of(sagemaker, config["EndpointConfigArn"]))
    ensure_resource(sagemaker, "endpoint config", request)
    return str(request["EndpointConfigName"])


def restore_config(sagemaker: SageMakerClient, endpoint: str, recorded: Recorded, *, sleep: Sleep = time.sleep) -> bool:
    """Bring an endpoint back to its recorded config and numbers of instances, and wait until it serves.

    Called again after a kill, it finds its own update under way. An endpoint that SageMaker already put back by
    itself is left as it is.

    Args:
        sagemaker: a boto3 SageMaker client.
        endpoint: the endpoint's name.
        recorded: what stood before.
        sleep: waits, in seconds.

    Returns:
        Whether anything had to be changed.

    Raises:
        EndpointMissingError: the endpoint is gone.
        EndpointBusyError: it does not settle.
        CapacityError: it serves the recorded config, with fewer instances than before.
        EndpointRollbackFailedError: SageMaker left it with a mixed fleet on that very config.
        SlipwayError: AWS refuses, or the recorded config does not get healthy any more.
    """
    found = settled(sagemaker, endpoint, sleep)
    if found["EndpointStatus"] == "UpdateRollbackFailed" and found["EndpointConfigName"] == recorded.config_name:
        # SageMaker refuses an update to the config that the endpoint is on: a person has to mend this one.
        endpoint_outcome(found, recorded.config_name).raise_if_failed()
    changed = found["EndpointConfigName"] != recorded.config_name or found["EndpointStatus"] != "InService"
    if changed:
        with aws_call(f"put endpoint {endpoint} back to {recorded.config_name}"):
            sagemaker.update_endpoint(
                EndpointName=endpoint, EndpointConfigName=recorded.config_name, RetainAllVariantProperties=False
            )
        found = settled(sagemaker, endpoint, sleep, since=found)
    endpoint_outcome(found, recorded.config_name).raise_if_failed()
    return _restore_capacity(sagemaker, found, recorded, sleep) or changed


def _restore_capacity(sagemaker: SageMakerClient, found: Description, recorded: Recorded, sleep: Sleep) -> bool:
    """A config starts with the number of instances that it names; scaling may have brought more since."""
    now = {variant["VariantName"]: variant for variant in found.get("ProductionVariants", [])}
    wanted: list[DesiredWeightAndCapacityTypeDef] = [
        {"VariantName": name, "DesiredInstanceCount": share.instances}
        for name, share in recorded.variants.items()
        if name in now and share.instances > now[name].get("CurrentInstanceCount", 0)
    ]
    for change in wanted:  # the API takes the capacity of one variant at a time
        with aws_call(f"restore the capacity of {found['EndpointName']}"):
            sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=found["EndpointName"],
                DesiredWeightsAndCapacities=[change],
            )
        found = settled(sagemaker, found["EndpointName"], sleep)
        endpoint_outcome(found, recorded.config_name).raise_if_failed()
        require_instances(found, change["VariantName"], change["DesiredInstanceCount"])
    return bool(wanted)
