"""The declaration of one service, as ``services/<name>.yaml`` holds it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.spec.monitor import MonitorSpec
from slipway.spec.promote import PromoteSpec
from slipway.spec.retrain import RetrainSpec
from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.serving import GoldenRowsSpec, ServingSpec
from slipway.spec.stage import StageName, StageSpec, StagesSpec
from slipway.spec.values import (
    KmsKey,
    Owner,
    RegisteredModelName,
    SecurityGroupId,
    ServiceName,
    SubnetId,
    Tags,
    unique,
)

ApproverId = Annotated[str, TextRule("the id of an Airflow user", r"\S(?:.*\S)?", 250)]
TopicArn = Annotated[
    str,
    TextRule(
        "the ARN of a standard SNS topic such as arn:aws:sns:eu-central-1:123456789012:models, no FIFO topic (.fifo)",
        r"arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256}",
    ),
]


class ApprovalSpec(Section):
    """Who says yes before a verified release goes to production."""

    required: bool = Field(True, description="Whether a person must approve each release.")
    approver_ids: Annotated[tuple[ApproverId, ...], AfterValidator(unique)] = Field(
        (),
        strict=False,
        max_length=100,
        description="Ids of the Airflow users who may approve, as the auth manager has them: the user name with the "
        'simple auth manager, the user\'s number (as text, "7") with FAB, the user id with Keycloak; empty: everybody '
        "who may run the DAG.",
    )
    timeout_hours: float = Field(72.0, gt=0, le=8760, description="Hours after which an unanswered release is refused.")
    valid_hours: float = Field(
        168.0, gt=0, le=8760, description="Hours after which an approved release that was not promoted lapses."
    )


class SecuritySpec(Section):
    """Encryption and network of both endpoints."""

    kms_key_id: KmsKey | None = Field(
        None, description="KMS key for volumes and captured traffic; left out: AWS's own."
    )
    subnets: Annotated[tuple[SubnetId, ...], AfterValidator(unique)] = Field(
        (), strict=False, max_length=16, description="Subnets of the VPC; needs `security_group_ids`."
    )
    security_group_ids: Annotated[tuple[SecurityGroupId, ...], AfterValidator(unique)] = Field(
        (), strict=False, max_length=5, description="Security groups in the VPC; needs `subnets`."
    )
    network_isolation: bool = Field(True, description="Whether the container is cut off from every network.")
    pickle_scan: Literal["warn", "refuse"] = Field(
        "warn",
        description="What dangerous imports in the model's pickles mean: `warn` tells the approver, `refuse` stops.",
    )

    @model_validator(mode="after")
    def _check_vpc(self) -> Self:
        if bool(self.subnets) != bool(self.security_group_ids):
            there, missing = ("subnets", "security_group_ids") if self.subnets else ("security_group_ids", "subnets")
            raise broken_rule(f"{missing} as well: SageMaker takes both or none", there)
        return self


class NotifySpec(Section):
    """Who hears of it."""

    sns_topic_arn: TopicArn | None = Field(
        None, description="Standard SNS topic for promotions, rollbacks, drift and failures."
    )


class ServiceSpec(Section):
    """One model in production."""

    name: ServiceName = Field(description="Name of the service; the file is called `<name>.yaml`.")
    model: RegisteredModelName = Field(description="MLflow registered model. One model belongs to one service.")
    owner: Owner = Field(description="Who answers for it: a person, a team or an e-mail address.")
    description: str = Field("", max_length=2000, description="What it is for, in a sentence or two.")
    stages: StagesSpec = Field(StagesSpec(), description="The endpoints.")
    approval: ApprovalSpec = Field(ApprovalSpec(), description="Who says yes before production.")
    promote: PromoteSpec = Field(PromoteSpec(), description="How a release takes over the traffic.")
    retrain: RetrainSpec | None = Field(None, description="When and from what it is trained again; left out: never.")
    monitor: MonitorSpec = Field(MonitorSpec(), description="What is watched in production.")
    security: SecuritySpec = Field(SecuritySpec(), description="Encryption and network.")
    notify: NotifySpec = Field(NotifySpec(), description="Who hears of it.")
    serving: ServingSpec = Field(ServingSpec(), description="How the model is served.")
    golden_rows: GoldenRowsSpec = Field(GoldenRowsSpec(), description="The rows by which a release is verified.")
    tags: Tags = Field({}, description="Tags for every AWS resource of the service.")

    def stage(self, stage: StageName) -> StageSpec:
        """Return the settings of ``stage``."""
        return self.stages.dev if stage == "dev" else self.stages.prod

    def endpoint_name(self, stage: StageName) -> str:
        """Return the name of the SageMaker endpoint of ``stage``."""
        return f"{self.name}-{stage}"

    def serving_digest_fields(self) -> dict[str, Any]:
        """Return the part of the spec that decides what an image contains or answers, for the release id."""
        return {
            "python": self.serving.python,
            "engine": self.serving.engine,
            "environment": self.serving.variables(),
            "golden_max_rows": self.golden_rows.max_rows,
        }

    @model_validator(mode="after")
    def _check_captures(self) -> Self:
        if self.promote.metrics.source != "cloudwatch" and not self.monitor.capture_pct:
            raise broken_rule(
                f"a monitor.capture_pct above 0 beside source: {self.promote.metrics.source}",
                *("promote", "metrics", "source"),
            )
        return self

    @model_validator(mode="after")
    def _check_outcomes(self) -> Self:
        wrong, field = self.promote.metrics.wrong, ("promote", "metrics", "wrong")
        if wrong is None:
            return self
        if self.monitor.labels is None or not self.monitor.capture_pct:
            raise broken_rule("monitor.labels and a monitor.capture_pct above 0 beside it", *field)
        if (wrong.tolerance is None) is (self.monitor.quality.task == "regression"):
            raise broken_rule("a tolerance with monitor.quality.task: regression, and with no other task", *field)
        return self

    @model_validator(mode="after")
    def _check_drift_policy(self) -> Self:
        if self.monitor.on_drift == "retrain" and self.retrain is None:
            raise broken_rule("a retrain section beside on_drift: retrain", "monitor", "on_drift")
        return self
