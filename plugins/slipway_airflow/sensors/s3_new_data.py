"""Is there new data to train on?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import PermanentError
from slipway.training.store import list_objects, to_record
from slipway.training.watermark import Readiness, data_objects, find_ready
from slipway_airflow.operators.retrain_task import RetrainTaskOperator
from slipway_airflow.triggers.s3_new_data import S3NewDataTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.training.watermark import S3Object

BATCH = "batch.json"
DRIFTED = "drifted/"
"""How the names of the assets begin that ask for a retraining on what there is, see ``slipway_dags.assets``."""


class S3NewDataSensor(RetrainTaskOperator):
    """Wait for new, complete objects below the service's folder, and write down which they are.

    Scheduled and data-triggered runs wait, at most ``max_wait_hours``, then skip. A run by hand, or one that drift
    asked for, takes what there is.
    Objects are new when the service's watermark does not know them; it advances when they have been trained on or
    quarantined, not here. Once written, the batch of a run stays the same, however often the task runs again.

    :param poke_seconds: Time between two looks. (default: 15)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``new`` (objects that are new), ``known`` (objects trained on before), ``uri`` of the batch's document.
    """

    def __init__(self, *, poke_seconds: float = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poke_seconds = poke_seconds

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and wait without a worker if there is not enough."""
        written = self.store.read(context["ti"].run_id, BATCH)
        if written:
            return self._summary(context, written)
        listing = list_objects(self.hook.client("s3"), self.data_uri)
        found = self._find(listing)
        if found.reason and self._waits(context):
            self._wait(found.reason)
        return self._write(context, listing, found)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Look again after the wait."""
        if event["status"] == "error":
            raise PermanentError(event["message"])
        return self.execute(context)

    def _waits(self, context: Context) -> bool:
        wanted = self.overrides(context).wait_for_data
        if wanted is not None:
            return wanted
        run_type = context["dag_run"].run_type
        kind = str(getattr(run_type, "value", run_type))
        if kind == "asset_triggered":
            causes = [str(asset.name) for asset in context.get("triggering_asset_events") or {}]
            return not any(name.startswith(DRIFTED) for name in causes)
        return kind == "scheduled"

    def _wait(self, reason: str) -> NoReturn:
        hours = self.retrain.data.max_wait_hours
        if not hours:
            raise AirflowSkipException(f"Nothing to do: {reason}.")
        self.log.info("%s below %s: waiting, at most %g hours.", reason, self.data_uri, hours)
        trigger = S3NewDataTrigger(
            uri=self.data_uri,
            service=self.spec.name,
            bucket=self.bucket.name,
            rules=self._rules(),
            aws_conn_id=self.aws_conn_id,
            poke_seconds=self.poke_seconds,
        )
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(hours=hours))
        raise AssertionError("defer() does not return")

    def _rules(self) -> dict[str, Any]:
        data = self.retrain.data
        return {
            "prefix": self.data_uri.removeprefix("s3://").partition("/")[2],
            "pattern": data.pattern,
            "success_marker": data.success_marker,
            "settle_seconds": data.settle_seconds,
            "min_objects": data.min_objects,
        }

    def _find(self, listing: list[S3Object]) -> Readiness:
        return find_ready(listing, self.store.watermark(), datetime.now(UTC), **self._rules())

    def _write(self, context: Context, listing: list[S3Object], found: Readiness) -> dict[str, Any]:
        rules = self._rules()
        watermark = self.store.watermark()
        usable = data_objects(
            listing, prefix=rules["prefix"], pattern=rules["pattern"], success_marker=rules["success_marker"]
        )
        known = [each for each in usable if not watermark.is_new(each) and not watermark.is_quarantined(each)]
        batch = {"new": [to_record(each) for each in found.ready], "known": [to_record(each) for each in known]}
        if not batch["new"] and not batch["known"]:
            raise AirflowSkipException(f"There is no data below {self.data_uri}: {found.reason}.")
        self.store.write(context["ti"].run_id, BATCH, batch)
        return self._summary(context, batch)

    def _summary(self, context: Context, batch: dict[str, Any]) -> dict[str, Any]:
        self.log.info("%d new objects, %d trained on before", len(batch["new"]), len(batch["known"]))
        return {"new": len(batch["new"]), "known": len(batch["known"])}
