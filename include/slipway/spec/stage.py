"""Where a release runs: the endpoints ``<service>-dev`` and ``<service>-prod``."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from slipway.spec.section import Section, broken_rule
from slipway.spec.values import ConnectionId, InstanceType, RoleReference

StageName = Literal["dev", "prod"]


class InstancesSpec(Section):
    """How many instances an endpoint has, and when it gets more or fewer."""

    min: int = Field(
        1, ge=1, le=100, description="Fewest instances; two or more stand in different availability zones."
    )
    max: int = Field(
        1, ge=1, le=100, description="Most instances; when left out, as many as `min`. More turns scaling on."
    )
    invocations_per_instance: int | None = Field(
        None, ge=1, description="Requests a minute that one instance shall take; needed when `max` is more than `min`."
    )
    scale_in_cooldown_seconds: int = Field(
        300, ge=0, le=3600, description="Seconds to wait after a change before instances are taken away."
    )
    scale_out_cooldown_seconds: int = Field(
        60, ge=0, le=3600, description="Seconds to wait after a change before more instances are added."
    )

    @property
    def scales(self) -> bool:
        """Whether the number of instances follows the traffic."""
        return self.max > self.min

    def within(self, instances: int) -> int:
        """Return the number of instances in the declared range that is nearest to the given one."""
        return max(self.min, min(instances, self.max))

    @model_validator(mode="before")
    @classmethod
    def _fill_max(cls, given: Any) -> Any:
        if isinstance(given, dict) and "min" in given and "max" not in given:
            return {**given, "max": given["min"]}
        return given

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min > self.max:
            raise broken_rule(f"a max of at least min, which is {self.min}", "max")
        if self.scales and self.invocations_per_instance is None:
            raise broken_rule(
                "invocations_per_instance beside a max above min: the requests a minute that one instance shall take",
                "max",
            )
        return self


class ProdInstancesSpec(InstancesSpec):
    """The same for production, where one instance alone would not survive the loss of its zone."""

    min: int = Field(
        2, ge=1, le=100, description="Fewest instances; two or more stand in different availability zones."
    )
    max: int = Field(
        2, ge=1, le=100, description="Most instances; when left out, as many as `min`. More turns scaling on."
    )


class StageSpec(Section):
    """One endpoint of the service."""

    instance_type: InstanceType = Field("ml.m5.large", description="SageMaker instance type.")
    instances: InstancesSpec = Field(InstancesSpec(), description="Number of instances and scaling.")
    startup_timeout_seconds: int = Field(
        600, ge=60, le=3600, description="Seconds that the container has until it answers its first health check."
    )
    aws_conn_id: ConnectionId | None = Field(
        None, description="Airflow connection of this stage's AWS account, when it is not the platform's."
    )
    execution_role: RoleReference | None = Field(
        None, description="IAM role of this stage's endpoint, name or ARN, when it is not the platform's."
    )


class DevStageSpec(StageSpec):
    """The endpoint on which each release is tried out and verified."""

    keep_hours: float = Field(24.0, gt=0, le=8760, description="Hours after which the idle endpoint is deleted.")


class ProdStageSpec(StageSpec):
    """The endpoint that users call. Only promotion and rollback change it."""

    instances: ProdInstancesSpec = Field(ProdInstancesSpec(), description="Number of instances and scaling.")


class StagesSpec(Section):
    """Both endpoints. What is left out takes safe defaults."""

    dev: DevStageSpec = Field(DevStageSpec(), description="Where each release is tried out and verified.")
    prod: ProdStageSpec = Field(ProdStageSpec(), description="What users call; only promotion and rollback change it.")
