"""The installation that all services share, as ``platform.yaml`` declares it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.errors import InvalidPlatformError
from slipway.spec.loader import load_model
from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.values import ConnectionId, ImageBuilder, PythonMinor, RoleReference, Tags

SCRATCH = "scratch"
"""The base image that is empty: the host supplies the interpreter."""

_PLACEHOLDERS = {"{account_id}": "123456789012", "{region}": "ap-southeast-1"}

BucketTemplate = Annotated[
    str,
    TextRule(
        "the name of an S3 bucket (lower-case letters, digits, '-' and '.'), in which {account_id} and {region} "
        "may stand",
        r"(?:[a-z0-9]|\{account_id\}|\{region\})(?:[a-z0-9.-]|\{account_id\}|\{region\})*",
        max_length=100,
    ),
]
RepositoryPrefix = Annotated[
    str,
    TextRule(
        "the beginning of ECR repository names: lower-case letters, digits and single '/', '-', '_' or '.'",
        r"[a-z0-9]+(?:[._/-][a-z0-9]+)*",
        max_length=150,
    ),
]
ImageReference = Annotated[
    str,
    TextRule(
        f"an image such as public.ecr.aws/docker/library/python:3.11-slim, or {SCRATCH}",
        r"scratch|[a-z0-9][\w.-]*(?::\d{1,5})?(?:/[a-z0-9][\w.-]*)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
        max_length=1024,
    ),
]


def _check_bucket(template: str) -> str:
    example = _fill(template, _PLACEHOLDERS)
    if not 3 <= len(example) <= 63 or ".." in example or not example[-1].isalnum():
        raise broken_rule(f"a bucket name of 3 to 63 characters; filled in, this becomes {example}")
    return template


def _fill(template: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template


class Platform(Section):
    """Where Slipway keeps its things, as whom it acts, and what images stand on."""

    artifact_bucket: Annotated[BucketTemplate, AfterValidator(_check_bucket)] = Field(
        "slipway-{account_id}-{region}",
        description="S3 bucket of artifacts, releases, state and ledger; {account_id} and {region} are filled in.",
    )
    execution_role: RoleReference = Field(
        description="IAM role that endpoints run as, name or ARN; a stage of a service may name another. It pulls from "
        "ECR, writes logs and metrics, and writes captured traffic to `captures/` in the bucket."
    )
    ecr_repository_prefix: RepositoryPrefix = Field(
        "slipway", description="The repository of a service is `<prefix>/<service>`."
    )
    base_images: dict[PythonMinor, ImageReference] = Field(
        {minor: f"public.ecr.aws/docker/library/python:{minor}-slim" for minor in ("3.11", "3.12", "3.13")},
        min_length=1,
        description="Image under the releases, by Python version; `scratch` is an empty one: the host supplies Python.",
    )
    image_platform: Literal["linux/amd64", "linux/arm64"] = Field(
        "linux/amd64", description="Operating system and processor of the images; Graviton instances need linux/arm64."
    )
    image_builder: ImageBuilder = Field(
        "layers",
        description="What makes the images: Slipway's own builder, which needs no engine, or `docker`, the workers' "
        "Docker engine. Releases of one are other releases than those of the other.",
    )
    aws_conn_id: ConnectionId = Field(
        "aws_default", description="Airflow connection of the AWS account; a stage of a service may name another."
    )
    mlflow_conn_id: ConnectionId = Field("mlflow_default", description="Airflow connection of the MLflow server.")
    tags: Tags = Field({}, description="Tags for every AWS resource.")

    @model_validator(mode="after")
    def _check_builder(self) -> Self:
        empty = [minor for minor, image in self.base_images.items() if image == SCRATCH]
        if self.image_builder == "docker" and empty:
            expected = "an image with Python and pip beside image_builder: docker"
            raise broken_rule(expected, "base_images", empty[0])
        return self

    def bucket_name(self, account_id: str, region: str) -> str:
        """Return the name of the artifact bucket in one account and region."""
        return _fill(self.artifact_bucket, {"{account_id}": account_id, "{region}": region})


def load_platform(project: Path) -> Platform:
    """Read ``platform.yaml`` of ``project``.

    Raises:
        InvalidPlatformError: one line per problem: file, line, field, what was found, what is accepted.
    """
    platform, _ = load_model(project / "platform.yaml", Platform, InvalidPlatformError)
    return platform
