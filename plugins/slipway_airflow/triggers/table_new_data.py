"""Waiting for new rows in a table without holding a worker."""

from __future__ import annotations

from typing import Any

from slipway.spec.retrain import DataSpec
from slipway.training.landing import LandingStore
from slipway.training.store import RetrainStore
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.hooks.source_database import source_name, source_table
from slipway_airflow.triggers.new_data import NewDataTrigger


class TableNewDataTrigger(NewDataTrigger):
    """Fires when a table holds enough rows that were not trained on.

    It only counts, by the index of the watermark column, and wakes the task, which reads. Rows deleted within
    ``late_within`` of the highest value make it wait for as many more; the next run reads all the same.

    :param service: The service whose landed rows count.
    :param bucket: The artifact bucket, which holds them.
    :param data: Fields of the ``DataSpec``, with its table of a database.
    :param aws_conn_id: The Airflow connection used for AWS credentials.
    :param poke_seconds: Time between two looks.
    :param deadline: When to give up, in seconds since 1970.
    """

    arguments = ("service", "bucket", "data", "aws_conn_id")

    def __init__(
        self, *, service: str, bucket: str, data: dict[str, Any], aws_conn_id: str | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.service = service
        self.bucket = bucket
        self.data = data
        self.aws_conn_id = aws_conn_id

    def look(self) -> str:
        """Count the rows."""
        data, s3 = DataSpec.model_validate(self.data), SlipwayAwsHook(aws_conn_id=self.aws_conn_id).client("s3")
        if data.jdbc is None:
            return "the table is of no database"
        cursor, _ = LandingStore(s3, self.bucket, self.service).read(source_name(data.jdbc))
        watermark = RetrainStore(s3, self.bucket, self.service).watermark()
        landed = sum(part.rows for part in cursor.landed if watermark.is_new(part.object))
        floor = cursor.through.floor(data.late_within) if cursor.through else None
        rows = landed + source_table(data.jdbc).extent(floor).rows - cursor.tail_rows
        return "" if rows >= data.min_rows else f"{rows} of {data.min_rows} new rows are there"


class CatalogPauseTrigger(NewDataTrigger):
    """Fires after a while: only a session of Spark can look into its catalog, and that is the task's.

    :param poke_seconds: Time between two looks.
    :param deadline: When to give up, in seconds since 1970.
    """

    arguments = ()

    @property
    def first_pause_seconds(self) -> float:
        """The whole pause."""
        return self.poke_seconds

    def look(self) -> str:
        """There may be new rows."""
        return ""
