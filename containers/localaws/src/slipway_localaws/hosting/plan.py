"""What an endpoint is asked to run: a snapshot that outlives the config and the models it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
DEFAULT_STARTUP_SECONDS = 480.0


@dataclass(frozen=True)
class ModelSource:
    """Where a container's ``/opt/ml/model`` comes from."""

    uri: str
    compressed: bool


@dataclass(frozen=True)
class VariantPlan:
    """One production (or shadow) variant."""

    name: str
    model_name: str
    image: str
    resolved_image: str
    digest: str
    environment: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[ModelSource, ...] = ()
    instance_type: str = ""
    instance_count: int = 1
    weight: float = 1.0
    startup_seconds: float = DEFAULT_STARTUP_SECONDS
    serverless: Mapping[str, Any] | None = None
    shadow: bool = False
    problem: str = ""


@dataclass(frozen=True)
class DeploymentPlan:
    """All variants of one endpoint config."""

    config_name: str
    variants: tuple[VariantPlan, ...]
    capture: Mapping[str, Any] = field(default_factory=dict)

    @property
    def production(self) -> tuple[VariantPlan, ...]:
        """The variants that get traffic."""
        return tuple(variant for variant in self.variants if not variant.shadow)


@dataclass(frozen=True, slots=True)
class EndpointKey:
    """Which endpoint."""

    account: str
    region: str
    name: str
