"""Champion and challenger on one endpoint: the config of a canary. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from slipway.endpoints.requests import (
    Account,
    WantedEndpoint,
    config_request,
    model_request,
    production_variant,
    resource_tags,
    variant_name,
)
from slipway.errors import EndpointBusyError

if TYPE_CHECKING:
    from slipway.platform import Platform
    from slipway.release import Release
    from slipway.spec import ServiceSpec
    from slipway.state import Recorded

FULL_WEIGHT = 100.0


def wanted_canary(
    spec: ServiceSpec,
    release: Release,
    platform: Platform,
    account: Account,
    *,
    bucket: str,
    recorded: Recorded,
    recorded_config: Mapping[str, Any],
) -> WantedEndpoint:
    """Build the endpoint that serves the champion as before and the challenger at weight 0.

    Args:
        spec: the service.
        release: the challenger.
        platform: the installation.
        account: account and region of the prod connection.
        bucket: name of the artifact bucket.
        recorded: what the endpoint served before the promotion.
        recorded_config: DescribeEndpointConfig's answer for the recorded config.

    Returns:
        The wanted endpoint. The champion keeps its model, instance type and present number of instances.

    Raises:
        EndpointBusyError: not one variant alone has the traffic, so there is no champion to compare with.
    """
    champion = _champion_variant(spec, recorded, recorded_config)
    model = model_request(spec, "prod", release, platform, account)
    first_weight_pct = spec.promote.weights_pct[0]
    challenger = production_variant(
        variant_name(spec.promote.strategy, release.id),
        str(model["ModelName"]),
        spec.stage("prod"),
        weight=0.0,
        instances=instances_needed(champion["InitialInstanceCount"], first_weight_pct),
    )
    tags = resource_tags(spec, "prod", release, platform)
    config = config_request(spec, "prod", (champion, challenger), tags, bucket=bucket)
    return WantedEndpoint(spec.endpoint_name("prod"), (model,), config, tags)


def champion_variant_name(endpoint: str, recorded: Recorded) -> str:
    """The one variant that had the traffic.

    Raises:
        EndpointBusyError: none or several had.
    """
    serving = [name for name, share in recorded.variants.items() if share.weight > 0]
    if len(serving) != 1:
        raise EndpointBusyError(
            f"{endpoint} has {len(serving)} variants with traffic ({', '.join(serving) or 'none'}), expected one: the "
            "champion. Put all traffic on one variant, then promote again."
        )
    return serving[0]


def challenger_variant_name(spec: ServiceSpec, release_id: str, champion: str) -> str:
    """Name the variant that is to stand beside the champion's.

    Raises:
        EndpointBusyError: the release is what serves already.
    """
    name = variant_name(spec.promote.strategy, release_id)
    if name == champion:
        raise EndpointBusyError(
            f"{spec.endpoint_name('prod')} already serves release {release_id}: nothing to compare it with. If a first "
            f"launch that was lost left it there, `slipway undeploy {spec.name} --stage prod --delete` takes it away; "
            "then deploy again."
        )
    return name


def instances_needed(champion_instances: int, weight_pct: float) -> int:
    """Instances that the challenger needs for a share of the traffic that the champion's instances carried."""
    return max(1, math.ceil(champion_instances * weight_pct / 100))


def split(champion: str, challenger: str, challenger_pct: float) -> dict[str, float]:
    """Weights that give the challenger a share in percent."""
    return {champion: FULL_WEIGHT - challenger_pct, challenger: challenger_pct}


def _champion_variant(spec: ServiceSpec, recorded: Recorded, recorded_config: Mapping[str, Any]) -> dict[str, Any]:
    name = champion_variant_name(spec.endpoint_name("prod"), recorded)
    found = next(variant for variant in recorded_config["ProductionVariants"] if variant["VariantName"] == name)
    return {**found, "InitialInstanceCount": recorded.variants[name].instances, "InitialVariantWeight": FULL_WEIGHT}
