"""Take an endpoint away: endpoint, then config, then models, each written down before it is deleted.

For a first launch that failed, which has no earlier config to go back to. The order matters: a config must not be
deleted under an endpoint, nor a model under a config.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from slipway.endpoints.requests import WantedEndpoint
from slipway.endpoints.resource import Record, Removal, Sleep, delete, describe, wait_until_gone
from slipway.errors import EndpointBusyError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_POLL_SECONDS = 10.0
_SETTLE_POLLS = 360


def remove_endpoint(
    sagemaker: SageMakerClient, wanted: WantedEndpoint, *, record: Record, sleep: Sleep = time.sleep
) -> tuple[Removal, ...]:
    """Delete an endpoint and what it was made of, as far as it exists.

    Called again after a kill, it goes on where it stopped: names follow from ``wanted``, not from the endpoint, which
    may be gone already.

    Args:
        sagemaker: a boto3 SageMaker client.
        wanted: the launch that is undone.
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

    if _settled(sagemaker, wanted, sleep):
        remove(Removal("endpoint", wanted.name, wanted.create_request()))
    wait_until_gone(sagemaker, wanted.name, sleep)
    if describe(sagemaker, "endpoint config", wanted.config_name) is not None:
        remove(Removal("endpoint config", wanted.config_name, wanted.config))
    for model in wanted.models:
        if describe(sagemaker, "model", model["ModelName"]) is not None:
            remove(Removal("model", model["ModelName"], model))
    return tuple(done)


def _settled(sagemaker: SageMakerClient, wanted: WantedEndpoint, sleep: Sleep) -> bool:
    """Wait until the endpoint can be deleted. False when it is gone or going."""
    for _ in range(_SETTLE_POLLS):
        found = describe(sagemaker, "endpoint", wanted.name)
        if found is None or found["EndpointStatus"] == "Deleting":
            return False
        if found.get("EndpointConfigName") != wanted.config_name:
            raise EndpointBusyError(
                f"{wanted.name} has config {found.get('EndpointConfigName')}, expected {wanted.config_name}: it serves "
                "something else by now and is not deleted."
            )
        if found["EndpointStatus"] not in {"Creating", "Updating", "SystemUpdating", "RollingBack"}:
            return True
        sleep(_POLL_SECONDS)
    raise EndpointBusyError(f"{wanted.name} cannot be deleted: it has been changing for an hour.")
