"""Waiting for new rows in a table without holding a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from slipway.errors import SlipwayError, TransientError
from slipway.spec.retrain import JdbcSpec
from slipway.training.landing import LandingStore
from slipway.training.store import RetrainStore
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.hooks.source_database import source_name, source_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TableNewDataTrigger(BaseTrigger):
    """Fires when a table holds enough rows that were not trained on.

    It only counts, by the index of the watermark column, and wakes the task, which reads. Rows deleted within
    ``late_within`` of the highest value make it wait for as many more; the next run reads all the same.

    :param service: The service whose landed rows count.
    :param bucket: The artifact bucket, which holds them.
    :param jdbc: Fields of the ``JdbcSpec``.
    :param min_rows: Fewest new rows.
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param poke_seconds: Time between two looks.
    """

    def __init__(
        self,
        *,
        service: str,
        bucket: str,
        jdbc: dict[str, Any],
        min_rows: int,
        aws_conn_id: str | None,
        poke_seconds: float = 15,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.service = service
        self.bucket = bucket
        self.jdbc = jdbc
        self.min_rows = min_rows
        self.aws_conn_id = aws_conn_id
        self.poke_seconds = poke_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        names = ("service", "bucket", "jdbc", "min_rows", "aws_conn_id", "poke_seconds")
        return f"{type(self).__module__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is enough; what may pass is looked at again, what may not is told."""
        # A trigger that fires within about a second can have its task marked failed (apache/airflow#71580).
        await asyncio.sleep(min(self.poke_seconds, 3))
        while True:
            try:
                missing = await asyncio.to_thread(self._missing_rows)
            except TransientError as error:
                self.log.warning("%s", error)
                missing = self.min_rows
            except SlipwayError as error:
                yield TriggerEvent({"status": "error", "message": str(error)})  # type: ignore[no-untyped-call]
                return
            if missing <= 0:
                yield TriggerEvent({"status": "ready"})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(self.poke_seconds)

    def _missing_rows(self) -> int:
        jdbc, s3 = JdbcSpec.model_validate(self.jdbc), SlipwayAwsHook(aws_conn_id=self.aws_conn_id).client("s3")
        cursor, _ = LandingStore(s3, self.bucket, self.service).read(source_name(jdbc))
        watermark = RetrainStore(s3, self.bucket, self.service).watermark()
        landed = sum(part.rows for part in cursor.landed if watermark.is_new(part.object))
        floor = cursor.through.floor(jdbc.late_within) if cursor.through else None
        return self.min_rows - landed - (source_table(jdbc).extent(floor).rows - cursor.tail_rows)
