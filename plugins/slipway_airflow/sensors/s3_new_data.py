"""Is there new data to train on in S3?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.training.store import list_objects
from slipway.training.watermark import data_objects, find_ready
from slipway_airflow.sensors.new_data import Look, NewDataSensor
from slipway_airflow.triggers.s3_new_data import S3NewDataTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class S3NewDataSensor(NewDataSensor):
    """Wait for new, complete objects below the service's folder, and write down which they are.

    :param poke_seconds: Time between two looks. (default: 15)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``new`` (objects that are new), ``known`` (objects trained on before).
    """

    def look(self, context: Context) -> Look:
        """List the folder."""
        listing, rules = list_objects(self.hook.client("s3"), self.data_uri), self._rules()
        usable = data_objects(
            listing, prefix=rules["prefix"], pattern=rules["pattern"], success_marker=rules["success_marker"]
        )
        return Look(usable, find_ready(listing, self.store.watermark(), datetime.now(UTC), **rules))

    def trigger(self, **waiting: Any) -> S3NewDataTrigger:
        """List the folder again and again."""
        return S3NewDataTrigger(
            uri=self.data_uri,
            service=self.spec.name,
            bucket=self.bucket.name,
            rules=self._rules(),
            aws_conn_id=self.aws_conn_id,
            **waiting,
        )

    def _rules(self) -> dict[str, Any]:
        data = self.retrain.data
        return {
            "prefix": self.data_uri.removeprefix("s3://").partition("/")[2],
            "pattern": data.pattern,
            "success_marker": data.success_marker,
            "settle_seconds": data.settle_seconds,
            "min_objects": data.min_objects,
        }
