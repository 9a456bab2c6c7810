"""Take a leftover away, written down first with the request that would bring it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.endpoints.requests import tag_list
from slipway.endpoints.resource import Record, Removal, delete, describe
from slipway.housekeeping.inventory import Resource

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

_NOT_REQUESTED = frozenset({
    "ResponseMetadata", "CreationTime", "LastModifiedTime", "EndpointArn", "EndpointConfigArn", "ModelArn",
    "DeploymentRecommendation",
})  # fmt: skip
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
    kept = {key: value for key, value in found.items() if key not in _NOT_REQUESTED}
    if resource.kind == "endpoint":
        kept = {key: kept[key] for key in _OF_AN_ENDPOINT}
    restore: dict[str, Any] = {**kept, "Tags": tag_list(resource.tags)}
    record(Removal(resource.kind, resource.name, restore))
    delete(sagemaker, resource.kind, resource.name)
    return True
