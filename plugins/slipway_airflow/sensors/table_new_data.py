"""Are there new rows to train on in a table?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.errors import InvalidInputError
from slipway.training.land import land
from slipway.training.watermark import Readiness, find_ready
from slipway_airflow.hooks.source_database import source_name, source_table
from slipway_airflow.sensors.new_data import Look, NewDataSensor
from slipway_airflow.triggers.table_new_data import TableNewDataTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.spec.retrain import JdbcSpec
    from slipway.training.landing import Cursor
    from slipway_airflow.triggers.new_data import NewDataTrigger


class TableNewDataSensor(NewDataSensor):
    """Wait for new rows in the service's table, and land them in S3 as objects that never change.

    From there on they are data like any other: validated, quarantined, trained on and remembered by object. A row is
    landed once, also when the task is killed or runs again; rows that were landed for a run that failed stay new.

    :param poke_seconds: Time between two looks. (default: 15)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``new`` (objects that are new), ``known`` (objects trained on before).
    """

    def look(self, context: Context) -> Look:
        """Land what is new."""
        cursor = self.land()
        objects, watermark = [part.object for part in cursor.landed], self.store.watermark()
        ready = find_ready(objects, watermark, datetime.now(UTC), prefix=self.landing.prefix, min_objects=0).ready
        rows, wanted = sum(part.rows for part in cursor.landed if part.object in ready), self.retrain.data.min_rows
        reason = "" if rows >= wanted else f"{rows} of {wanted} new rows are there"
        return Look(objects, Readiness(ready, reason))

    def land(self) -> Cursor:
        """Read the table through its Airflow connection."""
        jdbc = self._jdbc
        cursor = land(
            source_table(jdbc),
            self.landing,
            source=source_name(jdbc),
            column=jdbc.watermark_column,
            late_within=self.retrain.data.late_within,
        )
        self.log.info("%s is landed up to %s", jdbc.table, cursor.through.text if cursor.through else "nothing yet")
        return cursor

    def trigger(self, **waiting: Any) -> NewDataTrigger:
        """Count the rows again and again."""
        return TableNewDataTrigger(
            service=self.spec.name,
            bucket=self.bucket.name,
            data=self.retrain.data.model_dump(exclude_defaults=True),
            aws_conn_id=self.bucket_conn_id or self.aws_conn_id,
            **waiting,
        )

    @property
    def _jdbc(self) -> JdbcSpec:
        if self.retrain.data.jdbc is None:
            raise InvalidInputError(f"{self.spec.name}: retrain.data names no table of a database")
        return self.retrain.data.jdbc
