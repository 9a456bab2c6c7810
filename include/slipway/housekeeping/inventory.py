"""What there is in SageMaker: endpoints, endpoint configs and models, with what refers to what.

Everything is read, also what Slipway did not make: an endpoint of somebody else may use a config of ours. Tags are read
only of what has a name as Slipway gives them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call
from slipway.endpoints.resource import Kind, describe, tags_of

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

SERVICE_TAG = "slipway:service"
STAGE_TAG = "slipway:stage"
RELEASE_TAG = "slipway:release"

#: See `slipway.endpoints.names`.
_OURS: Mapping[Kind, re.Pattern[str]] = {
    "endpoint": re.compile(r".+-(dev|prod)"),
    "endpoint config": re.compile(r".+-(dev|prod)-[0-9a-f]{10}"),
    "model": re.compile(r".+-(dev|prod)-[0-9a-f]{12}-[0-9a-f]{8}"),
}


@dataclass(frozen=True)
class Resource:
    """One endpoint, endpoint config or model.

    Args:
        kind: which of them.
        name: its name.
        arn: its ARN.
        touched_at: when it was made, of an endpoint when it last changed.
        tags: its tags; empty for names that Slipway never gives.
        refers_to: an endpoint's configs, the one it is on its way to included; a config's models.
        status: an endpoint's status.
    """

    kind: Kind
    name: str
    arn: str
    touched_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    refers_to: frozenset[str] = frozenset()
    status: str = ""

    @property
    def service(self) -> str | None:
        """The service that it belongs to; None when Slipway did not make it."""
        return self.tags.get(SERVICE_TAG)


@dataclass(frozen=True)
class Inventory:
    """All endpoints, endpoint configs and models of one account and region."""

    endpoints: tuple[Resource, ...] = ()
    configs: tuple[Resource, ...] = ()
    models: tuple[Resource, ...] = ()


def take_inventory(sagemaker: SageMakerClient) -> Inventory:
    """Read what there is.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    return Inventory(
        endpoints=tuple(_resources(sagemaker, "endpoint", "list_endpoints", "Endpoint")),
        configs=tuple(_resources(sagemaker, "endpoint config", "list_endpoint_configs", "EndpointConfig")),
        models=tuple(_resources(sagemaker, "model", "list_models", "Model")),
    )


def _resources(sagemaker: SageMakerClient, kind: Kind, operation: str, prefix: str) -> list[Resource]:
    with aws_call(f"list the {kind}s"):
        pages = list(sagemaker.get_paginator(operation).paginate())  # type: ignore[call-overload]
    found = []
    for item in (item for page in pages for item in page[f"{prefix}s"]):
        name, arn = str(item[f"{prefix}Name"]), str(item[f"{prefix}Arn"])
        description = None if kind == "model" else describe(sagemaker, kind, name)
        if kind != "model" and description is None:
            continue  # it went between listing and reading
        found.append(
            Resource(
                kind=kind,
                name=name,
                arn=arn,
                touched_at=item.get("LastModifiedTime") or item["CreationTime"],
                tags=tags_of(sagemaker, arn) if _OURS[kind].fullmatch(name) else {},
                refers_to=_references(description or {}),
                status=str(item.get("EndpointStatus", "")),
            )
        )
    return found


def _references(description: Mapping[str, Any]) -> frozenset[str]:
    if "EndpointStatus" in description:
        pending = (description.get("PendingDeploymentSummary") or {}).get("EndpointConfigName")
        return frozenset(name for name in (description.get("EndpointConfigName"), pending) if name)
    variants = [*description.get("ProductionVariants", []), *description.get("ShadowProductionVariants", [])]
    return frozenset(str(variant["ModelName"]) for variant in variants if variant.get("ModelName"))
