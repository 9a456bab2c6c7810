"""Fit the champion's pipeline again on the window, and judge both on the same held-out rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from slipway.training.job import make_job
from slipway.training.store import from_record
from slipway_airflow.operators.data_validate import VALIDATION
from slipway_airflow.operators.retrain_task import RetrainTaskOperator
from slipway_airflow.sensors.new_data import BATCH

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.training.watermark import S3Object

RESULT = "result.json"


class RetrainOperator(RetrainTaskOperator):
    """Run the trainer in a process of its own, with the engine that the spec names.

    Killing the task kills the trainer. A task that runs again after the training was logged finds its MLflow run and
    takes that.

    :param evaluate_only: Train and evaluate, log nothing, and end here. (templated, default: False)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``run_id`` and ``model_uri`` in MLflow, ``metrics``, ``improvements``, ``rows``.
    """

    template_fields = (*RetrainTaskOperator.template_fields, "evaluate_only")

    def __init__(self, *, evaluate_only: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.evaluate_only = evaluate_only

    def execute(self, context: Context) -> dict[str, Any]:
        """Train."""
        run_id, dry_run = context["ti"].run_id, str(self.evaluate_only).lower() == "true"
        found = self.store.read(run_id, RESULT)
        if found:
            self.log.info("This run's training was logged before, as MLflow run %s.", found["run_id"])
            return self._kept(found)
        prepared = self.prepared(run_id)
        objects = self._objects(run_id, prepared)
        if not objects:
            raise AirflowSkipException("No object is left to train on.")
        job = make_job(
            self.spec,
            self.retrain,
            run_id=run_id,
            objects=objects,
            champion=self.champion(),
            overrides=self.overrides(context),
            prepared=prepared,
            dry_run=dry_run,
            **self.own_code(),
            **self.job_places(),
        )
        result = self.run_trainer("train", job)
        if dry_run:
            raise AirflowSkipException(f"Dry run: nothing is registered. {result['metrics']}")
        self.store.write(run_id, RESULT, result)
        return self._kept(result)

    @staticmethod
    def _kept(result: dict[str, Any]) -> dict[str, Any]:
        kept = ("run_id", "model_uri", "metrics", "improvements", "rows", "champion_version", "losses", "window")
        return {name: result[name] for name in kept}

    def _objects(self, run_id: str, prepared: dict[str, dict[str, Any]]) -> list[S3Object]:
        """Known objects and the new ones that passed, oldest first, without what ``prepare`` refuses by now."""
        batch = self.store.read(run_id, BATCH) or {"new": [], "known": []}
        validation = self.store.read(run_id, VALIDATION) or {"objects": []}
        passed = [from_record(entry) for entry in validation["objects"] if entry["passed"]]
        known = [from_record(record) for record in batch["known"]]
        refused = [each for each in known if "problem" in prepared.get(each.key, {})]
        for each in refused:
            self.log.warning("%s is left out, prepare refuses it: %s", each.key, prepared[each.key]["problem"])
        kept = [each for each in (*known, *passed) if each not in refused]
        return sorted(kept, key=lambda each: (each.modified, each.key))
