"""From an endpoint config and its models to what the hosting shall run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.sagemaker.models import SageMakerModelBackend

from slipway_localaws.hosting.images import ImageRefusedError, ImageStore
from slipway_localaws.hosting.plan import DEFAULT_STARTUP_SECONDS, DeploymentPlan, ModelSource, VariantPlan
from slipway_localaws.sagemaker.records import StoredEndpointConfig, StoredModel

Parameters = Mapping[str, Any]


def plan_deployment(backend: SageMakerModelBackend, config: StoredEndpointConfig, images: ImageStore) -> DeploymentPlan:
    """Take the snapshot that an endpoint runs: images resolved to digests, environments, counts and weights."""
    request = config.request
    variants = [
        _plan_variant(backend, variant, images, shadow=shadow)
        for shadow, group in ((False, "ProductionVariants"), (True, "ShadowProductionVariants"))
        for variant in request.get(group, ())
    ]
    return DeploymentPlan(config.endpoint_config_name, tuple(variants), dict(request.get("DataCaptureConfig") or {}))


def container_of(model: StoredModel) -> tuple[Parameters, str]:
    """The model's one container, and why it cannot be hosted when it has another shape."""
    containers = [model.request["PrimaryContainer"]] if model.request.get("PrimaryContainer") else []
    containers += model.request.get("Containers") or []
    if len(containers) != 1:
        return {}, f"Models with {len(containers)} containers are not hosted by the stand-in."
    if containers[0].get("Mode", "SingleModel") != "SingleModel" or not containers[0].get("Image"):
        return {}, "Only single-model containers with an Image are hosted by the stand-in."
    return containers[0], ""


def _plan_variant(
    backend: SageMakerModelBackend, variant: Parameters, images: ImageStore, *, shadow: bool
) -> VariantPlan:
    model = backend._models.get(variant.get("ModelName", ""))
    image = resolved = digest = problem = ""
    container: Parameters = {}
    if not isinstance(model, StoredModel):
        problem = f'Could not find model "{variant.get("ModelName")}".'
    else:
        container, problem = container_of(model)
    if container:
        image = container["Image"]
        try:
            reference = images.resolve(image, account=backend.account_id, region=backend.region_name)
            resolved, digest = reference.resolved_uri, reference.digest
        except ImageRefusedError as error:
            problem = f"{error} Please check that the image exists and that the execution role may pull it."
    return VariantPlan(
        name=variant["VariantName"],
        model_name=variant.get("ModelName", ""),
        image=image,
        resolved_image=resolved,
        digest=digest,
        environment=dict(container.get("Environment") or {}),
        sources=_sources(container),
        instance_type=variant.get("InstanceType", ""),
        instance_count=int(variant.get("InitialInstanceCount") or 1),
        weight=float(variant.get("InitialVariantWeight", 1.0)),
        startup_seconds=float(variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or DEFAULT_STARTUP_SECONDS),
        serverless=variant.get("ServerlessConfig"),
        shadow=shadow,
        problem=problem,
    )


def _sources(container: Parameters) -> tuple[ModelSource, ...]:
    if container.get("ModelDataUrl"):
        return (ModelSource(container["ModelDataUrl"], compressed=True),)
    data = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if not data:
        return ()
    return (ModelSource(data["S3Uri"], compressed=data["CompressionType"] == "Gzip"),)
