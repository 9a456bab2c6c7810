"""What the operators that act for one service have in common."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from slipway.platform import Platform
    from slipway.spec import ServiceSpec


class ServiceOperator(AwsBaseOperator[SlipwayAwsHook]):
    """Base of the operators that act for one service.

    :param spec: The service.
    :param platform: The installation: artifact bucket, execution role, base images.
    :param bucket_conn_id: The Airflow connection of the artifact bucket, when endpoints live in another
        AWS account than it; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    aws_hook_class = SlipwayAwsHook
    template_fields = aws_template_fields("bucket_conn_id")

    def __init__(
        self, *, spec: ServiceSpec, platform: Platform, bucket_conn_id: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**{"multiple_outputs": True, **kwargs})
        self.spec = spec
        self.platform = platform
        self.bucket_conn_id = bucket_conn_id

    @cached_property
    def bucket(self) -> ArtifactBucket:
        """The artifact bucket."""
        hook = self.hook
        if self.bucket_conn_id and self.bucket_conn_id != self.aws_conn_id:
            parameters = {**self._hook_parameters, "aws_conn_id": self.bucket_conn_id, "region_name": None}
            hook = SlipwayAwsHook(**parameters)
        return ArtifactBucket(hook, self.platform.artifact_bucket)
