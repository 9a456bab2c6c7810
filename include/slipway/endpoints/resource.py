"""The SageMaker calls that launching and removing share: describe, create once, tag, delete.

Adapter: each function may be called again after a kill at any point, and finds what an earlier call left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code, error_message
from slipway.endpoints.difference import require_same
from slipway.endpoints.outcome import Description
from slipway.endpoints.requests import Request, tag_list
from slipway.errors import AwsUnavailableError, EndpointBusyError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

T = TypeVar("T")
Kind = Literal["endpoint", "endpoint config", "model"]
Sleep = Callable[[float], None]

_NAME_FIELDS: Mapping[Kind, str] = {
    "endpoint": "EndpointName",
    "endpoint config": "EndpointConfigName",
    "model": "ModelName",
}
_ARN_FIELDS: Mapping[Kind, str] = {
    "endpoint": "EndpointArn",
    "endpoint config": "EndpointConfigArn",
    "model": "ModelArn",
}
_NOT_REQUESTED = frozenset({
    "ResponseMetadata", "CreationTime", "LastModifiedTime", "EndpointArn", "EndpointConfigArn", "ModelArn",
    "DeploymentRecommendation",
})  # fmt: skip
# Reads of SageMaker's control plane may lag behind its writes: CreateEndpoint's reference asks for retries.
_CONSISTENCY_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LAGGING_POLLS = 3
_POLL_SECONDS = 5.0
_DELETION_POLLS = 180


@dataclass(frozen=True)
class Removal:
    """Something that is about to be deleted, and the request that would bring it back."""

    kind: Kind
    name: str
    restore: Request


Record = Callable[[Removal], None]
"""Writes a removal down; called before the delete."""


def describe(sagemaker: SageMakerClient, kind: Kind, name: str) -> Description | None:
    """Describe an endpoint, endpoint config or model.

    Returns:
        AWS's answer, or None when there is none of that name.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    calls: Mapping[Kind, Callable[[], Any]] = {
        "endpoint": lambda: sagemaker.describe_endpoint(EndpointName=name),
        "endpoint config": lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name),
        "model": lambda: sagemaker.describe_model(ModelName=name),
    }
    with aws_call(f"describe {kind} {name}"):
        try:
            answer: Description = calls[kind]()
        except ClientError as error:
            if is_absent(error):
                return None
            raise
    return answer


def ensure_resource(sagemaker: SageMakerClient, kind: Kind, request: Request, *, sleep: Sleep = time.sleep) -> bool:
    """Make a model or an endpoint config exist, with its tags.

    Args:
        sagemaker: a boto3 SageMaker client.
        kind: which of them.
        request: the Create request.
        sleep: waits for AWS's reads to catch up with its writes.

    Returns:
        Whether this call created it.

    Raises:
        ResourceConflictError: one of that name exists with other content.
        SlipwayError: AWS does not answer or refuses.
    """
    name = request[_NAME_FIELDS[kind]]
    found = describe(sagemaker, kind, name)
    if found is None:
        create = sagemaker.create_model if kind == "model" else sagemaker.create_endpoint_config
        with aws_call(f"create {kind} {name}"):
            try:
                when_consistent(lambda: create(**request), sleep)
            except ClientError as error:
                if not is_duplicate(error):
                    raise
            else:
                return True
        found = describe(sagemaker, kind, name)
    if found is None:
        raise AwsUnavailableError(f"AWS says that {kind} {name} exists, and that it does not. Try again.")
    require_same(kind, name, request, found)
    ensure_tags(sagemaker, found[_ARN_FIELDS[kind]], {tag["Key"]: tag["Value"] for tag in request["Tags"]})
    return False


def request_of(found: Description, tags: Mapping[str, str]) -> Request:
    """Return the Create request that makes a model or an endpoint config as it was found.

    Args:
        found: AWS's description.
        tags: its tags.
    """
    return {**{key: value for key, value in found.items() if key not in _NOT_REQUESTED}, "Tags": tag_list(tags)}


def ensure_tags(sagemaker: SageMakerClient, arn: str, tags: Mapping[str, str]) -> bool:
    """Give a resource those of the tags that it lacks or has with another value; other tags stay.

    Returns:
        Whether any had to be added.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    found = tags_of(sagemaker, arn)
    with aws_call(f"tag {arn}"):
        missing = {key: value for key, value in tags.items() if found.get(key) != value}
        if missing:
            sagemaker.add_tags(ResourceArn=arn, Tags=tag_list(missing))  # type: ignore[arg-type]
    return bool(missing)


def tags_of(sagemaker: SageMakerClient, arn: str) -> dict[str, str]:
    """Return a resource's tags.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    with aws_call(f"read the tags of {arn}"):
        pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}


def delete(sagemaker: SageMakerClient, kind: Kind, name: str) -> None:
    """Delete an endpoint, endpoint config or model; one that is gone already is fine.

    Raises:
        EndpointBusyError: the endpoint is being changed.
        SlipwayError: AWS does not answer or refuses.
    """
    calls: Mapping[Kind, Callable[[], Any]] = {
        "endpoint": lambda: sagemaker.delete_endpoint(EndpointName=name),
        "endpoint config": lambda: sagemaker.delete_endpoint_config(EndpointConfigName=name),
        "model": lambda: sagemaker.delete_model(ModelName=name),
    }
    with aws_call(f"delete {kind} {name}"):
        try:
            calls[kind]()
        except ClientError as error:
            if not is_absent(error):
                raise


def wait_until_gone(sagemaker: SageMakerClient, name: str, sleep: Sleep) -> None:
    """Wait until an endpoint that was told to go is gone.

    Raises:
        AwsUnavailableError: it is still there after 15 minutes.
        EndpointBusyError: it is not being deleted.
        SlipwayError: AWS does not answer or refuses.
    """
    staying = 0
    for _ in range(_DELETION_POLLS):
        found = describe(sagemaker, "endpoint", name)
        if found is None:
            return
        staying += found["EndpointStatus"] != "Deleting"
        if staying > _LAGGING_POLLS:
            raise EndpointBusyError(
                f"{name} should be deleted and is {found['EndpointStatus']}: somebody made it anew."
            )
        sleep(_POLL_SECONDS)
    minutes = _DELETION_POLLS * _POLL_SECONDS / 60
    raise AwsUnavailableError(f"{name} is still being deleted after {minutes:.0f} minutes. Try again later.")


def when_consistent(call: Callable[[], T], sleep: Sleep) -> T:
    """Call, and call again while AWS does not see yet what was created just before."""
    for pause in _CONSISTENCY_PAUSES:
        try:
            return call()
        except ClientError as error:
            if not is_absent(error):
                raise
            sleep(pause)
    return call()


def is_absent(error: ClientError) -> bool:
    """Tell whether AWS says that something does not exist. SageMaker has no code for that, only a text."""
    if error_code(error) in {"ResourceNotFound", "ResourceNotFoundException"}:
        return True
    return error_code(error) == "ValidationException" and "could not find" in error_message(error).lower()


def is_duplicate(error: ClientError) -> bool:
    """Tell whether AWS says that something of that name exists already."""
    if error_code(error) == "ResourceInUse":
        return True
    return error_code(error) == "ValidationException" and "already existing" in error_message(error).lower()
