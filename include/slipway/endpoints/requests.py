"""What SageMaker is asked for: requests built from spec, stage, release and platform. Pure.

Everything in a request follows from these four, so the same release gives the same requests on every machine and in
every run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.endpoints.names import config_name, model_name
from slipway.errors import InvalidSpecError

if TYPE_CHECKING:
    from slipway.platform import Platform
    from slipway.release import Release
    from slipway.spec import ServiceSpec, StageName, StageSpec

Request = dict[str, Any]

GUARDRAIL_VARIANT = "main"
"""Variant name of the strategy that needs equal names in the old and the new config."""

_CAPTURES = "captures"
_MAX_TAGS = 50  # per resource
_TAG_VALUE = re.compile(r"[^\w .:/=+\-@]")
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


@dataclass(frozen=True)
class Account:
    """Where the endpoint runs."""

    account_id: str
    region: str

    @property
    def partition(self) -> str:
        """The partition of the region, the second field of its ARNs."""
        return next((name for prefix, name in _PARTITIONS.items() if self.region.startswith(prefix)), "aws")


@dataclass(frozen=True)
class WantedEndpoint:
    """An endpoint as it shall be.

    Args:
        name: the endpoint.
        models: CreateModel requests, one for each variant.
        config: the CreateEndpointConfig request.
        tags: what the endpoint itself is tagged with.
    """

    name: str
    models: tuple[Request, ...]
    config: Request
    tags: Mapping[str, str]

    @property
    def config_name(self) -> str:
        """Name of the endpoint config."""
        return str(self.config["EndpointConfigName"])

    def create_request(self) -> Request:
        """Return the CreateEndpoint request."""
        return {
            "EndpointName": self.name,
            "EndpointConfigName": self.config_name,
            "Tags": tag_list(self.tags),
        }

    def update_request(self) -> Request:
        """Return the UpdateEndpoint request.

        Capacity, weights and capture are those of the wanted config, not those that the endpoint has.
        """
        return {
            "EndpointName": self.name,
            "EndpointConfigName": self.config_name,
            "RetainAllVariantProperties": False,
        }


def wanted_endpoint(
    spec: ServiceSpec, stage: StageName, release: Release, platform: Platform, account: Account, *, bucket: str
) -> WantedEndpoint:
    """Build everything for one release with all traffic of a stage.

    Args:
        spec: the service.
        stage: which endpoint.
        release: what it shall serve.
        platform: the installation.
        account: account and region of the stage's connection.
        bucket: name of the artifact bucket, which may be in another account.

    Returns:
        The wanted endpoint; its names follow from its content.
    """
    tags = resource_tags(spec, stage, release, platform)
    model = model_request(spec, stage, release, platform, account)
    variant = production_variant(
        variant_name(spec.promote.strategy, release.id), str(model["ModelName"]), spec.stage(stage)
    )
    config = config_request(spec, stage, (variant,), tags, bucket=bucket)
    return WantedEndpoint(spec.endpoint_name(stage), (model,), config, tags)


def model_request(
    spec: ServiceSpec, stage: StageName, release: Release, platform: Platform, account: Account
) -> Request:
    """Build the CreateModel request: the release's image by digest, its role, its network."""
    container: Request = {"Image": release.image_uri}
    if variables := spec.serving.variables():
        container["Environment"] = variables
    request: Request = {
        "PrimaryContainer": container,
        "ExecutionRoleArn": role_arn(spec.stage(stage).execution_role or platform.execution_role, account),
        "EnableNetworkIsolation": spec.security.network_isolation,
    }
    if spec.security.subnets:
        request["VpcConfig"] = {
            "Subnets": list(spec.security.subnets),
            "SecurityGroupIds": list(spec.security.security_group_ids),
        }
    request["ModelName"] = model_name(spec.name, stage, release.id, request)
    request["Tags"] = tag_list(resource_tags(spec, stage, release, platform))
    return request


def production_variant(
    name: str, model: str, stage: StageSpec, *, weight: float = 1.0, instances: int | None = None
) -> Request:
    """Build one variant of an endpoint config.

    Args:
        name: the variant's name.
        model: name of the SageMaker model.
        stage: instance type, number of instances and start-up time.
        weight: its share of the traffic, relative to the other variants'.
        instances: number of instances; None takes the stage's minimum.
    """
    return {
        "VariantName": name,
        "ModelName": model,
        "InstanceType": stage.instance_type,
        "InitialInstanceCount": stage.instances.min if instances is None else instances,
        "InitialVariantWeight": float(weight),
        "ContainerStartupHealthCheckTimeoutInSeconds": stage.startup_timeout_seconds,
    }


def config_request(
    spec: ServiceSpec,
    stage: StageName,
    variants: tuple[Request, ...],
    tags: Mapping[str, str],
    *,
    bucket: str,
) -> Request:
    """Build the CreateEndpointConfig request: variants, encryption, and data capture in production."""
    request: Request = {"ProductionVariants": [dict(variant) for variant in variants]}
    if spec.security.kms_key_id:
        request["KmsKeyId"] = spec.security.kms_key_id
    if stage == "prod" and spec.monitor.capture_pct:
        request["DataCaptureConfig"] = _capture(spec, bucket)
    request["EndpointConfigName"] = config_name(spec.name, stage, request)
    request["Tags"] = tag_list(tags)
    return request


def variant_name(strategy: str, release_id: str) -> str:
    """Name a release's variant: the release id, so that metrics and captures are per release.

    SageMaker's own guardrail deployments need the same name in the old and the new config.
    """
    return GUARDRAIL_VARIANT if strategy == "guardrail" else release_id


def capture_uri(bucket: str) -> str:
    """Return where SageMaker writes captured traffic: into the artifact bucket, where monitor and judge read it.

    SageMaker itself adds ``/<endpoint>/<variant>/<yyyy>/<mm>/<dd>/<hh>/``.
    """
    return f"s3://{bucket}/{_CAPTURES}"


def role_arn(role: str, account: Account) -> str:
    """Return a role's ARN; a name is taken as a role of the account."""
    return role if role.startswith("arn:") else f"arn:{account.partition}:iam::{account.account_id}:role/{role}"


def resource_tags(spec: ServiceSpec, stage: StageName, release: Release, platform: Platform) -> dict[str, str]:
    """Return the tags of every resource of a release: platform's, service's, and where it came from.

    The service's tags win over the platform's, the lineage over both.

    Raises:
        InvalidSpecError: more tags than AWS takes.
    """
    lineage = {
        "slipway:service": spec.name,
        "slipway:stage": stage,
        "slipway:owner": spec.owner,
        "slipway:release": release.id,
        "slipway:model": release.model,
        "slipway:model-version": str(release.version),
        "slipway:image-digest": release.image_uri.partition("@")[2],
        "slipway:run-id": str(release.created_from.get("run_id") or ""),
    }
    tags = {**platform.tags, **spec.tags, **{key: tag_value(value) for key, value in lineage.items() if value}}
    if len(tags) > _MAX_TAGS:
        raise InvalidSpecError(
            f"{spec.name}: {len(tags)} tags on each resource, expected at most {_MAX_TAGS}: {len(platform.tags)} come "
            f"from platform.yaml, {len(spec.tags)} from the service, the rest are Slipway's own."
        )
    return tags


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as SageMaker's requests have them, sorted by key."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def tag_value(text: str) -> str:
    """Return a text as the value of a tag: model names and run ids may hold characters that tags may not."""
    return _TAG_VALUE.sub("_", text)[:256]


def _capture(spec: ServiceSpec, bucket: str) -> Request:
    capture: Request = {
        "EnableCapture": True,
        "InitialSamplingPercentage": spec.monitor.capture_pct,
        "DestinationS3Uri": capture_uri(bucket),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        # Without this SageMaker writes even JSON and CSV in base64.
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]},
    }
    if spec.security.kms_key_id:
        capture["KmsKeyId"] = spec.security.kms_key_id
    return capture
