"""Models, endpoint configs and endpoints as the control plane keeps them, in moto's own dictionaries."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, Model
from moto.sagemaker.utils import arn_formatter

from slipway_localaws.hosting.plan import DeploymentPlan, EndpointKey, VariantPlan

Parameters = Mapping[str, Any]


def now() -> datetime:
    """The current time, naive in UTC as moto keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


class StoredModel(Model):
    """A model with everything that CreateModel was given."""

    def __init__(self, account: str, region: str, request: Parameters) -> None:
        super().__init__(
            account,
            region,
            request["ModelName"],
            request.get("ExecutionRoleArn", ""),
            copy.deepcopy(request.get("PrimaryContainer") or {}),
            request.get("VpcConfig") or {},
            copy.deepcopy(request.get("Containers") or []),
            list(request.get("Tags") or []),
        )
        self.request = copy.deepcopy({key: value for key, value in request.items() if key != "Tags"})
        self.enable_network_isolation = bool(request.get("EnableNetworkIsolation"))

    @property
    def response_object(self) -> dict[str, Any]:
        """The answer of DescribeModel."""
        described = copy.deepcopy(self.request)
        for container in (described.get("PrimaryContainer"), *described.get("Containers", ())):
            if container:
                container.setdefault("Mode", "SingleModel")
                container.setdefault("Environment", {})
        described |= {"ModelArn": self.arn, "CreationTime": self.creation_time}
        described["EnableNetworkIsolation"] = self.enable_network_isolation
        return described


class StoredEndpointConfig(FakeEndpointConfig):
    """An endpoint config with everything that CreateEndpointConfig was given."""

    def __init__(self, account: str, region: str, request: Parameters) -> None:
        self.request = copy.deepcopy({key: value for key, value in request.items() if key != "Tags"})
        for variant in (*self.request["ProductionVariants"], *self.request.get("ShadowProductionVariants", ())):
            variant.setdefault("InitialVariantWeight", 1.0)
        super().__init__(
            account,
            region,
            request["EndpointConfigName"],
            self.request["ProductionVariants"],
            request.get("AsyncInferenceConfig") or {},
            request.get("DataCaptureConfig") or {},
            list(request.get("Tags") or []),
            request.get("KmsKeyId", ""),
        )
        self.arn = self.endpoint_config_arn  # type: ignore[assignment]  # moto makes it a tuple

    def validate_production_variants(self, production_variants: list[dict[str, Any]]) -> None:
        """Done before, against botocore's model: moto's own list of instance types is years old."""

    @property
    def response_object(self) -> dict[str, Any]:
        """The answer of DescribeEndpointConfig."""
        described = copy.deepcopy(self.request)
        described |= {"EndpointConfigArn": self.endpoint_config_arn, "CreationTime": self.creation_time}
        described.setdefault("EnableNetworkIsolation", False)
        return described


class VariantState:
    """One variant of a live endpoint as DescribeEndpoint shows it."""

    def __init__(self, plan: VariantPlan) -> None:
        self.plan = plan
        self.current_weight = self.desired_weight = plan.weight
        self.current_count = self.desired_count = plan.instance_count
        self.resolved_at = now()

    def describe(self) -> dict[str, Any]:
        """ProductionVariantSummary."""
        images = [
            {
                "SpecifiedImage": self.plan.image,
                "ResolvedImage": self.plan.resolved_image,
                "ResolutionTime": self.resolved_at,
            }
        ]
        described: dict[str, Any] = {
            "VariantName": self.plan.name,
            "DeployedImages": images,
            "CurrentWeight": self.current_weight,
            "DesiredWeight": self.desired_weight,
        }
        if self.plan.serverless is not None:
            described |= {
                "CurrentServerlessConfig": self.plan.serverless,
                "DesiredServerlessConfig": self.plan.serverless,
                "CurrentInstanceCount": 0,
            }
        else:
            described |= {"CurrentInstanceCount": self.current_count, "DesiredInstanceCount": self.desired_count}
        return described

    def describe_pending(self, status: str, message: str = "") -> dict[str, Any]:
        """PendingProductionVariantSummary."""
        described = self.describe()
        described["VariantStatus"] = [{"Status": status, "StatusMessage": message, "StartTime": self.resolved_at}]
        if self.plan.instance_type:
            described["InstanceType"] = self.plan.instance_type
        return described


class HostedEndpoint(FakeEndpoint):
    """An endpoint that is really hosted.

    Args:
        key: which endpoint.
        plan: what it shall run.
        tags: its tags.
    """

    def __init__(self, key: EndpointKey, plan: DeploymentPlan, tags: list[dict[str, str]]) -> None:
        self.key = key
        self.endpoint_name = key.name
        self.arn = arn_formatter("endpoint", key.name, key.account, key.region)
        self.tags = tags
        self.creation_time = self.last_modified_time = now()
        self.failure_reason: str | None = None  # type: ignore[assignment]
        self.endpoint_status = "Creating"
        self.last_deployment_config: Parameters | None = None
        self.pending: DeploymentPlan | None = None
        self.pending_since: datetime | None = None
        self.pending_variants: dict[str, VariantState] = {}
        self.adopt(plan)

    def adopt(self, plan: DeploymentPlan, variants: dict[str, VariantState] | None = None) -> None:
        """Let ``plan`` be what the endpoint runs."""
        self.plan = plan
        self.endpoint_config_name = plan.config_name
        self.data_capture_config = dict(plan.capture)
        self.variants = variants or {variant.name: VariantState(variant) for variant in plan.variants}

    def touch(self, status: str, failure_reason: str | None = None) -> None:
        """Change the status."""
        self.endpoint_status = status
        self.failure_reason = failure_reason
        self.last_modified_time = now()

    @property
    def production_variants(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """ProductionVariantSummary of each production variant."""
        return [state.describe() for state in self.variants.values() if not state.plan.shadow]

    @property
    def response_object(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint."""
        described: dict[str, Any] = {
            "EndpointName": self.endpoint_name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.endpoint_config_name,
            "EndpointStatus": self.endpoint_status,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.last_modified_time,
        }
        if self.endpoint_status not in {"Creating", "Failed"}:
            described["ProductionVariants"] = self.production_variants
            shadows = [state.describe() for state in self.variants.values() if state.plan.shadow]
            if shadows:
                described["ShadowProductionVariants"] = shadows
        if self.failure_reason:
            described["FailureReason"] = self.failure_reason
        if self.data_capture_config:
            described["DataCaptureConfig"] = _capture_summary(self.data_capture_config, self.endpoint_status)
        if self.last_deployment_config:
            described["LastDeploymentConfig"] = self.last_deployment_config
        if self.pending is not None:
            described["PendingDeploymentSummary"] = {
                "EndpointConfigName": self.pending.config_name,
                "StartTime": self.pending_since,
                "ProductionVariants": [
                    state.describe_pending("Creating")
                    for state in self.pending_variants.values()
                    if not state.plan.shadow
                ],
            }
        return described


def _capture_summary(config: Parameters, status: str) -> dict[str, Any]:
    enabled = bool(config.get("EnableCapture"))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled and status != "Failed" else "Stopped",
        "CurrentSamplingPercentage": config["InitialSamplingPercentage"],
        "DestinationS3Uri": config["DestinationS3Uri"],
        "KmsKeyId": config.get("KmsKeyId", ""),
    }
