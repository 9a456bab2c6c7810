"""What the sensors for new training data have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import PermanentError
from slipway.training.store import to_record
from slipway.training.watermark import Readiness
from slipway_airflow.operators.retrain_task import RetrainTaskOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.training.watermark import S3Object
    from slipway_airflow.triggers.new_data import NewDataTrigger

BATCH = "batch.json"
DRIFTED = "drifted/"
"""How the names of the assets begin that ask for a retraining on what there is, see ``slipway_dags.assets``."""
_SLACK = timedelta(minutes=10)


@dataclass(frozen=True)
class Look:
    """What a sensor found.

    :param usable: All objects that are data, whether dealt with or not.
    :param found: Those that are new, and why they are not enough yet.
    """

    usable: list[S3Object]
    found: Readiness


class NewDataSensor(RetrainTaskOperator):
    """Wait for new data, and write down which objects hold it.

    Scheduled and data-triggered runs wait, at most ``max_wait_hours``, then skip. A run by hand, or one that drift
    asked for, takes what there is.
    Objects are new when the service's watermark does not know them; it advances when they have been trained on or
    quarantined, not here. Once written, the batch of a run stays the same, however often the task runs again.

    :param poke_seconds: Time between two looks. (default: 15)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``new`` (objects that are new), ``known`` (objects trained on before).
    """

    def __init__(self, *, poke_seconds: float = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poke_seconds = poke_seconds

    @abstractmethod
    def look(self, context: Context) -> Look:
        """See what there is."""

    @abstractmethod
    def trigger(self, **waiting: Any) -> NewDataTrigger:
        """Make the trigger that looks without a worker.

        :param waiting: How long and how often: arguments of ``NewDataTrigger``.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and wait without a worker if there is not enough."""
        written = self.store.read(context["ti"].run_id, BATCH)
        if written:
            return self._summary(written)
        seen = self.look(context)
        if seen.found.reason and self._waits(context):
            self._wait(context, seen.found.reason)
        return self._write(context, seen)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Look again after the wait."""
        if event["status"] == "error":
            raise PermanentError(event["message"])
        if event["status"] == "late":
            raise AirflowSkipException(f"Waited long enough: {event['message']}.")
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

    def _wait(self, context: Context, reason: str) -> NoReturn:
        hours = self.retrain.data.max_wait_hours
        began = context["dag_run"].start_date or datetime.now(UTC)
        deadline = began.timestamp() + hours * 3600
        left = deadline - time.time()
        if left <= 0:
            raise AirflowSkipException(f"Nothing to do: {reason}.")
        self.log.info("%s below %s: waiting, %.1f of %g hours.", reason, self.data_uri, left / 3600, hours)
        trigger = self.trigger(poke_seconds=self.poke_seconds, deadline=deadline)
        # The trigger gives up by itself; Airflow's own time-out would fail the task.
        timeout = timedelta(seconds=left + self.poke_seconds) + _SLACK
        self.defer(trigger=trigger, method_name="execute_complete", timeout=timeout)
        raise AssertionError("defer() does not return")

    def _write(self, context: Context, seen: Look) -> dict[str, Any]:
        watermark = self.store.watermark()
        known = [each for each in seen.usable if not watermark.is_new(each) and not watermark.is_quarantined(each)]
        batch = {"new": [to_record(each) for each in seen.found.ready], "known": [to_record(each) for each in known]}
        if not batch["new"] and not batch["known"]:
            raise AirflowSkipException(f"There is no data below {self.data_uri}: {seen.found.reason}.")
        self.store.write(context["ti"].run_id, BATCH, batch)
        return self._summary(batch)

    def _summary(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.log.info("%d new objects, %d trained on before", len(batch["new"]), len(batch["known"]))
        return {"new": len(batch["new"]), "known": len(batch["known"])}
