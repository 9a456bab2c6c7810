"""Take a leftover away, written down first with the request that would bring it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.endpoints.resource import Record, Removal, delete, describe, request_of
from slipway.housekeeping.inventory import Resource

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_OF_AN_ENDPOINT = ("EndpointName", "EndpointConfigName")


def remove(sagemaker: SageMakerClient, resource: Resource, record: Record) -> bool:
    """Delete a resource that was found to be a leftover.

    Args:
        sagemaker: a boto3 SageMaker client.
        resource: what to delete.
        record: writes the removal into the ledger; called before the delete.

    Returns:
        False when it was gone already.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    found = describe(sagemaker, resource.kind, resource.name)
    if found is None:
        return False
    if resource.kind == "endpoint":
        found = {key: found[key] for key in _OF_AN_ENDPOINT}
    record(Removal(resource.kind, resource.name, request_of(found, resource.tags)))
    delete(sagemaker, resource.kind, resource.name)
    return True
