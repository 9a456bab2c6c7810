"""Take an endpoint away: endpoint, then config, then models, each written down before it is deleted.

For a first launch that failed, which has no earlier config to go back to. The order matters: a config must not be
deleted under an endpoint, nor a model under a config.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from slipway.endpoints.requests import WantedEndpoint
from slipway.endpoints.resource import (
    Record,
    Removal,
    Sleep,
    delete,
    describe,
    request_of,
    tags_of,
    wait_until_gone,
)
from slipway.errors import EndpointBusyError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_POLL_SECONDS = 10.0
_SETTLE_POLLS = 360


def remove_endpoint(
    sagemaker: SageMakerClient, *launches: WantedEndpoint, record: Record, sleep: Sleep = time.sleep
) -> tuple[Removal, ...]:
    """Delete an endpoint and what it was made of, as far as it exists.

    Called again after a kill, it goes on where it stopped: names follow from the launches, not from the endpoint, which
    may be gone already.

    Args:
        sagemaker: a boto3 SageMaker client.
        launches: the launch that is undone; or all of one run, when it tried with several configs.
        record: writes each removal, with what would bring it back, into the ledger; called before the delete.
        sleep: waits, in seconds.

    Returns:
        What this call deleted, in order.

    Raises:
        EndpointBusyError: the endpoint serves another config, or somebody else keeps changing it. Nothing was deleted.
        SlipwayError: AWS does not answer or refuses.
    """
    done: list[Removal] = []

    def remove(removal: Removal) -> None:
        record(removal)
        delete(sagemaker, removal.kind, removal.name)
        done.append(removal)

    if serving := _settled(sagemaker, launches, sleep):
        remove(Removal("endpoint", serving.name, serving.create_request()))
    wait_until_gone(sagemaker, launches[0].name, sleep)
    for wanted in launches:
        if describe(sagemaker, "endpoint config", wanted.config_name) is not None:
            remove(Removal("endpoint config", wanted.config_name, wanted.config))
    for model in (model for wanted in launches for model in wanted.models):
        if describe(sagemaker, "model", model["ModelName"]) is not None:
            remove(Removal("model", model["ModelName"], model))
    return tuple(done)


def read_launch(sagemaker: SageMakerClient, endpoint: str, config_name: str) -> WantedEndpoint:
    """Read from AWS what a launch asked for, when the spec of then is not there any more.

    Args:
        sagemaker: a boto3 SageMaker client.
        endpoint: the endpoint's name.
        config_name: the endpoint config that was launched.

    Returns:
        The launch. Without models when the config is gone already: then `leftovers` of housekeeping finds them.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    config = describe(sagemaker, "endpoint config", config_name)
    if config is None:
        return WantedEndpoint(endpoint, (), {"EndpointConfigName": config_name}, {})
    tags = tags_of(sagemaker, config["EndpointConfigArn"])
    names = dict.fromkeys(str(variant["ModelName"]) for variant in config["ProductionVariants"])
    models = [model for name in names if (model := describe(sagemaker, "model", name)) is not None]
    requests = tuple(request_of(model, tags_of(sagemaker, model["ModelArn"])) for model in models)
    return WantedEndpoint(endpoint, requests, request_of(config, tags), tags)


def _settled(sagemaker: SageMakerClient, launches: Sequence[WantedEndpoint], sleep: Sleep) -> WantedEndpoint | None:
    """Wait until the endpoint can be deleted; return the launch that it is on. None when it is gone or going."""
    name, by_config = launches[0].name, {wanted.config_name: wanted for wanted in launches}
    for _ in range(_SETTLE_POLLS):
        found = describe(sagemaker, "endpoint", name)
        if found is None or found["EndpointStatus"] == "Deleting":
            return None
        serving = by_config.get(found.get("EndpointConfigName", ""))
        if serving is None:
            raise EndpointBusyError(
                f"{name} has config {found.get('EndpointConfigName')}, expected {' or '.join(by_config)}: it serves "
                "something else by now and is not deleted."
            )
        if found["EndpointStatus"] not in {"Creating", "Updating", "SystemUpdating", "RollingBack"}:
            return serving
        sleep(_POLL_SECONDS)
    raise EndpointBusyError(f"{name} cannot be deleted: it has been changing for an hour.")
