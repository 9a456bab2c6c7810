"""Waiting for new data in S3 without holding a worker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from slipway.training.store import RetrainStore, list_objects
from slipway.training.watermark import find_ready
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.triggers.new_data import NewDataTrigger


class S3NewDataTrigger(NewDataTrigger):
    """Fires when enough new, complete objects lie below a folder.

    :param uri: The folder, ``s3://bucket/folder/``.
    :param service: The service whose watermark counts.
    :param bucket: The artifact bucket, which holds the watermark.
    :param rules: What makes objects ready: arguments of ``find_ready``.
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param poke_seconds: Time between two looks.
    :param deadline: When to give up, in seconds since 1970.
    """

    arguments = ("uri", "service", "bucket", "rules", "aws_conn_id")

    def __init__(
        self, *, uri: str, service: str, bucket: str, rules: dict[str, Any], aws_conn_id: str | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.uri = uri
        self.service = service
        self.bucket = bucket
        self.rules = rules
        self.aws_conn_id = aws_conn_id

    def look(self) -> str:
        """List the folder."""
        s3 = SlipwayAwsHook(aws_conn_id=self.aws_conn_id).client("s3")
        watermark = RetrainStore(s3, self.bucket, self.service).watermark()
        return find_ready(list_objects(s3, self.uri), watermark, datetime.now(UTC), **self.rules).reason
