"""Are there new rows to train on in a table of Spark's catalog?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slipway.training.job import make_job, make_landing
from slipway.training.landing import Cursor, landed_by_trainer
from slipway.training.overrides import RetrainOverrides
from slipway_airflow.sensors.table_new_data import TableNewDataSensor
from slipway_airflow.triggers.table_new_data import CatalogPauseTrigger

if TYPE_CHECKING:
    from slipway_airflow.triggers.new_data import NewDataTrigger


class CatalogNewDataSensor(TableNewDataSensor):
    """Wait for new rows in the service's table of Spark's catalog, and land them in S3 as objects that never change.

    Spark reads the table and its tasks write the objects, in the trainer's process with the service's own Spark
    properties. ``retrain.time_column`` says which rows are new.

    :param poke_seconds: Time between two looks; each starts Spark. (default: 600)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``new`` (objects that are new), ``known`` (objects trained on before).
    """

    def __init__(self, *, poke_seconds: float = 600, **kwargs: Any) -> None:
        super().__init__(poke_seconds=poke_seconds, **kwargs)

    def land(self) -> Cursor:
        """Have Spark read the table."""
        source = f"spark/{self.retrain.data.table}/{self.retrain.time_column}"
        cursor, etag = self.landing.read(source)
        job = make_job(
            self.spec,
            self.retrain,
            run_id="landing",
            objects=[],
            champion=None,
            overrides=RetrainOverrides(),
            **self.job_places(),
        )
        landing = make_landing(self.retrain, cursor, self.landing.place(cursor.readings + 1), self.landing.uri)
        found = self.run_trainer("land", {**job, "landing": landing})
        wanted = landed_by_trainer(cursor, found)
        if wanted != replace(cursor, readings=wanted.readings):
            self.landing.commit(wanted, etag)
            return wanted
        return cursor

    def trigger(self, **waiting: Any) -> NewDataTrigger:
        """Wait, and let the task look again."""
        return CatalogPauseTrigger(**waiting)
