"""Where the training runs when it does not run beside the task."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.values import InstanceType, KmsKey, RoleReference, S3Prefix, SecurityGroupId, SubnetId, unique

TrainingImage = Annotated[
    str,
    TextRule(
        "an image in ECR with its tag or digest, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/trainer:4; "
        "{account_id} and {region} are filled in",
        r"(?:\d{12}|\{account_id\})\.dkr\.ecr\.(?:[a-z0-9-]+|\{region\})\.amazonaws\.com(?:\.cn)?"
        r"/[a-z0-9]+(?:[._/-][a-z0-9]+)*(?::[\w][\w.-]{0,127}(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})",
        255,
    ),
]
SecretName = Annotated[
    str,
    TextRule(
        "the name or ARN of a secret in AWS Secrets Manager",
        r"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]+|[\w/+=.@-]+",
        512,
    ),
]


S3Archive = Annotated[
    str,
    TextRule(
        "a packed Python environment in S3, such as s3://bucket/trainer.tar.gz",
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[\w./+=@-]+\.(?:tar\.gz|tgz)",
        1024,
    ),
]


class SageMakerSpec(Section):
    """A SageMaker training job for each training, on one instance."""

    image: TrainingImage | None = Field(
        None,
        description="Image of the trainer in ECR: {account_id} and {region} are filled in. Left out: the one of this "
        "installation, `<ecr_repository_prefix>/slipway_trainer`, built by the task when it is not there.",
    )
    instance_type: InstanceType = Field("ml.m5.xlarge", description="SageMaker instance type that trains.")
    volume_gb: int = Field(30, ge=1, le=16_384, description="Disk of the instance in GB.")
    role: RoleReference | None = Field(
        None, description="IAM role of the job, name or ARN; left out: `execution_role` of platform.yaml."
    )
    spot: bool = Field(False, description="Whether spare instances train, for less; they may be taken away meanwhile.")
    max_wait_hours: float = Field(
        24.0, ge=0, le=672, description="Hours that a `spot` job may wait for instances, beside `retrain.max_hours`."
    )
    checkpoints: bool = Field(
        False,
        description="Whether `/opt/ml/checkpoints` outlives an interruption, for a `retrainer` of your own that goes "
        "on from what it wrote there. Without one a training begins anew.",
    )
    kms_key_id: KmsKey | None = Field(
        None, description="KMS key of the instance's volume and of what the job leaves in S3; left out: AWS's own."
    )
    subnets: Annotated[tuple[SubnetId, ...], AfterValidator(unique)] = Field(
        (), strict=False, max_length=16, description="Subnets of the VPC; needs `security_group_ids`."
    )
    security_group_ids: Annotated[tuple[SecurityGroupId, ...], AfterValidator(unique)] = Field(
        (), strict=False, max_length=5, description="Security groups in the VPC; needs `subnets`."
    )
    mlflow_secret: SecretName | None = Field(
        None,
        description='Secret with MLflow\'s credentials, `{"username": …, "password": …}` or `{"token": …}`, in Secrets '
        "Manager; the role reads it.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if bool(self.subnets) != bool(self.security_group_ids):
            there, missing = ("subnets", "security_group_ids") if self.subnets else ("security_group_ids", "subnets")
            raise broken_rule(f"{missing} as well: SageMaker takes both or none", there)
        for name in ("max_wait_hours", "checkpoints"):
            if not self.spot and name in self.changed_fields():
                raise broken_rule(f"spot: true beside {name}: other instances are not waited for or taken away", name)
        return self


class EmrServerlessSpec(Section):
    """A job run on an EMR Serverless application for each training; `retrain.spark` holds its Spark properties."""

    application_id: Annotated[
        str, TextRule("the id of an EMR Serverless application, such as 00f1a2b3c4d5e6f7", r"[0-9a-z]+", 64)
    ] = Field(description="EMR Serverless application of type Spark, release `emr-spark-8.0.0` or later.")
    role: RoleReference | None = Field(
        None, description="IAM role of the job run, name or ARN; left out: `execution_role` of platform.yaml."
    )
    archive: S3Archive | None = Field(
        None,
        description="Packed Python environment with the trainer, `s3://bucket/trainer.tar.gz`; left out: the "
        "application's image has it.",
    )
    log_uri: S3Prefix | None = Field(
        None, description="Folder in S3 of the job runs' logs; left out: beside the run in the artifact bucket."
    )
    mlflow_secret: SecretName | None = Field(
        None,
        description='Secret with MLflow\'s credentials, `{"username": …, "password": …}` or `{"token": …}`, in Secrets '
        "Manager; the role reads it.",
    )


class ComputeSpec(Section):
    """What trains in place of a process beside the task: exactly one of its members."""

    sagemaker: SageMakerSpec | None = Field(None, description="SageMaker training jobs.")
    emr_serverless: EmrServerlessSpec | None = Field(
        None, description="Job runs of EMR Serverless, for `engine: spark`."
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        kinds = list(type(self).model_fields)
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"; found {' and '.join(given)}" if given else ""
            raise broken_rule(f"exactly one of {' and '.join(kinds)}{found}", *given[1:2])
        return self

    @property
    def mlflow_secret(self) -> str | None:
        """The secret with MLflow's credentials."""
        found = self.sagemaker or self.emr_serverless
        return found.mlflow_secret if found else None

    @property
    def wait_hours(self) -> float:
        """Hours that a training may wait before it runs, beyond what it takes to start one."""
        return self.sagemaker.max_wait_hours if self.sagemaker and self.sagemaker.spot else 0.0
