"""Waiting for new data in S3 without holding a worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from slipway.errors import SlipwayError, TransientError
from slipway.training.store import RetrainStore, list_objects
from slipway.training.watermark import find_ready
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class S3NewDataTrigger(BaseTrigger):
    """Fires when enough new, complete objects lie below a folder.

    It only wakes the task: what there is, the task reads itself.

    :param uri: The folder, ``s3://bucket/folder/``.
    :param service: The service whose watermark counts.
    :param bucket: The artifact bucket, which holds the watermark.
    :param rules: What makes objects ready: arguments of ``find_ready``.
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param poke_seconds: Time between two looks.
    """

    def __init__(
        self,
        *,
        uri: str,
        service: str,
        bucket: str,
        rules: dict[str, Any],
        aws_conn_id: str | None,
        poke_seconds: float = 15,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uri = uri
        self.service = service
        self.bucket = bucket
        self.rules = rules
        self.aws_conn_id = aws_conn_id
        self.poke_seconds = poke_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        names = ("uri", "service", "bucket", "rules", "aws_conn_id", "poke_seconds")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is enough; what may pass is looked at again, what may not is told."""
        # A trigger that fires within about a second can have its task marked failed (apache/airflow#71580).
        await asyncio.sleep(min(self.poke_seconds, 3))
        while True:
            try:
                reason = await asyncio.to_thread(self._look)
            except TransientError as error:
                self.log.warning("%s", error)
                reason = str(error)
            except SlipwayError as error:
                yield TriggerEvent({"status": "error", "message": str(error)})  # type: ignore[no-untyped-call]
                return
            if not reason:
                yield TriggerEvent({"status": "ready"})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poke_seconds)

    def _look(self) -> str:
        s3 = SlipwayAwsHook(aws_conn_id=self.aws_conn_id).client("s3")
        watermark = RetrainStore(s3, self.bucket, self.service).watermark()
        return find_ready(list_objects(s3, self.uri), watermark, datetime.now(UTC), **self.rules).reason
