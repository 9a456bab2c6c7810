"""The way back to the previous champion: whether there is one, and which. Pure.

Warm: the previous champion still stands on the endpoint at weight 0, and a change of weights brings it back within
seconds. By config: SageMaker brings up its endpoint config on new instances, which takes minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from slipway.endpoints.names import config_name
from slipway.endpoints.outcome import Description
from slipway.endpoints.requests import Request, tag_list
from slipway.endpoints.traffic import instances_of, weights_of
from slipway.errors import EndpointBusyError, EndpointMissingError, NoWayBackError
from slipway.state import EndpointState, Serving

Route = Literal["warm", "config"]

_KEPT_FIELDS = (
    "DataCaptureConfig", "KmsKeyId", "AsyncInferenceConfig", "ExplainerConfig", "ExecutionRoleArn", "VpcConfig",
    "EnableNetworkIsolation",
)  # fmt: skip
#: An endpoint in these states takes an update; see `slipway.endpoints.outcome`.
_TAKES_UPDATES = frozenset({"InService", "UpdateRollbackFailed"})


@dataclass(frozen=True)
class WayBack:
    """How the previous champion gets the traffic.

    Args:
        route: ``warm`` or ``config``.
        release_id: the previous champion.
        model_version: its model version.
        variant: the variant that serves it.
        config_name: its endpoint config, as it was recorded.
        instances: how many instances it needs: what carries the traffic now, or what its config names.
        leaving: variants that have the traffic now.
    """

    route: Route
    release_id: str
    model_version: int
    variant: str
    config_name: str
    instances: int
    leaving: tuple[str, ...]


def previous_champion(state: EndpointState | None, endpoint: str, *, now: datetime, keep_days: float) -> Serving:
    """Return the champion of before, if it may be gone back to.

    Args:
        state: what is known of the endpoint.
        endpoint: the endpoint's name, for messages.
        now: the present.
        keep_days: the spec's ``promote.keep_previous_days``.

    Raises:
        EndpointBusyError: a promotion is under way; aborting it is the way back.
        NoWayBackError: there is no previous champion, or its time is up.
    """
    if state and state.promotion:
        raise EndpointBusyError(
            f"{endpoint}: release {state.promotion.release_id} is being promoted by {state.promotion.run_id}. Use "
            f"`slipway abort {endpoint.removesuffix('-prod')}`: it takes that release back."
        )
    if state is None or state.champion is None:
        raise NoWayBackError(f"{endpoint} never had a champion, so there is nothing to go back to.")
    if state.previous is None:
        raise NoWayBackError(
            f"{endpoint} has no champion before release {state.champion.release_id}: it was the first, or it is what a "
            "rollback brought back. Deploy the wanted model version."
        )
    until = kept_until(state.champion, keep_days)
    if now >= until:
        raise NoWayBackError(
            f"{endpoint}: release {state.previous.release_id} was kept until {until:%Y-%m-%d %H:%M %Z} "
            f"(promote.keep_previous_days is {keep_days:g}). Deploy model version {state.previous.model_version} again."
        )
    return state.previous


def kept_until(champion: Serving, keep_days: float) -> datetime:
    """Return until when the champion before this one is kept."""
    return champion.since + timedelta(days=keep_days)


def find_way_back(previous: Serving, found: Description | None, config: Mapping[str, Any] | None) -> WayBack:
    """Choose the way back.

    Args:
        previous: the champion of before.
        found: DescribeEndpoint's answer.
        config: DescribeEndpointConfig's answer for the previous champion's config.

    Raises:
        EndpointMissingError: there is no endpoint.
        EndpointBusyError: something changes it just now, or it can only be deleted.
        NoWayBackError: the previous champion's config was deleted.
    """
    if found is None:
        raise EndpointMissingError(
            f"The endpoint of release {previous.release_id} does not exist any more. Deploy model version "
            f"{previous.model_version} again."
        )
    name, status = found["EndpointName"], found["EndpointStatus"]
    if config is None:
        raise NoWayBackError(
            f"{name}: endpoint config {previous.config_name} of release {previous.release_id} was deleted. Deploy "
            f"model version {previous.model_version} again."
        )
    if status not in _TAKES_UPDATES:
        raise EndpointBusyError(f"{name} is {status}, expected InService. Run the rollback again when it has settled.")
    wanted = _variant_of(config, previous)
    variant = str(wanted["VariantName"])
    present = instances_of(found)
    carrying = sorted(name for name, weight in weights_of(found).items() if weight > 0)
    return WayBack(
        route="warm" if present.get(variant, 0) > 0 and status == "InService" else "config",
        release_id=previous.release_id,
        model_version=previous.model_version,
        variant=variant,
        config_name=previous.config_name,
        instances=max([int(wanted["InitialInstanceCount"]), *(present[name] for name in carrying)]),
        leaving=tuple(name for name in carrying if name != variant),
    )


def solo_config(
    service: str, config: Mapping[str, Any], variant: str, instances: int, tags: Mapping[str, str]
) -> Request:
    """Build the endpoint config that serves one variant of another config alone, with as many instances as it needs.

    Everything else (instance type, capture, encryption, network) is as in that config, whatever the spec says by now.

    Args:
        service: the service's name.
        config: DescribeEndpointConfig's answer for the config with the variant.
        variant: the variant's name.
        instances: how many instances it needs.
        tags: that config's tags.
    """
    own = next(each for each in config["ProductionVariants"] if each["VariantName"] == variant)
    request: Request = {name: config[name] for name in _KEPT_FIELDS if config.get(name)}
    request["ProductionVariants"] = [{**own, "InitialInstanceCount": instances, "InitialVariantWeight": 1.0}]
    request["EndpointConfigName"] = config_name(service, "prod", request)
    request["Tags"] = tag_list(tags)
    return request


def is_solo(config: Mapping[str, Any], way: WayBack) -> bool:
    """Tell whether a recorded config already serves the previous champion alone and at the wanted size."""
    variants = config["ProductionVariants"]
    return len(variants) == 1 and int(variants[0]["InitialInstanceCount"]) >= way.instances


def _variant_of(config: Mapping[str, Any], previous: Serving) -> Mapping[str, Any]:
    """Its own variant; a config that was recorded in a canary's bake names the one of before, too."""
    variants: list[Mapping[str, Any]] = list(config["ProductionVariants"])
    own = next((variant for variant in variants if variant["VariantName"] == previous.release_id), None)
    if own is None and len(variants) > 1:
        raise NoWayBackError(
            f"Endpoint config {config['EndpointConfigName']} has {len(variants)} variants and none is release "
            f"{previous.release_id}: somebody else made it. Deploy model version {previous.model_version} again."
        )
    return own or variants[0]
