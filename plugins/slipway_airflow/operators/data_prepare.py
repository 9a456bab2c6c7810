"""Rows made fit for training by the service's own function."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.errors import InvalidInputError
from slipway.spec import project_dir
from slipway.training.job import make_job
from slipway.training.overrides import RetrainOverrides
from slipway.training.store import from_record, list_objects, to_record
from slipway_airflow.operators.retrain_task import PREPARED, RetrainTaskOperator
from slipway_airflow.sensors.new_data import BATCH

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.training.watermark import S3Object


class DataPrepareOperator(RetrainTaskOperator):
    """Run ``retrain.prepare`` over each object of the run's batch, in the trainer's process.

    What it makes of an object is kept by the object and the function's file: an object is prepared once, and all
    of them again when the file changes, so that old and new rows are always prepared alike. Validation, training and
    data manifest read what was prepared; what is new, taken or quarantined goes by the objects themselves.

    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``prepared``, ``reused``, ``refused`` (numbers of objects).
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Prepare what is not prepared yet."""
        run_id = context["ti"].run_id
        batch = self.store.read(run_id, BATCH) or {"new": [], "known": []}
        objects = [from_record(record) for record in (*batch["known"], *batch["new"])]
        there = self._there()
        missing = [each for each in objects if self._place(each) not in there]
        refused = self._prepare(missing) if missing else {}
        there = self._there() if missing else there
        found = {each.key: to_record(there[place]) for each in objects if (place := self._place(each)) in there}
        problems = {each.key: {"problem": refused[each.key]} for each in missing if refused.get(each.key)}
        self.store.write(run_id, PREPARED, {"objects": {**found, **problems}})
        return {
            "prepared": len(missing) - len(problems),
            "reused": len(objects) - len(missing),
            "refused": len(problems),
        }

    def _prepare(self, missing: list[S3Object]) -> dict[str, str]:
        """Run the trainer; the reasons of refused objects by key."""
        job = make_job(
            self.spec,
            self.retrain,
            run_id="prepare",
            objects=missing,
            champion=None,
            overrides=RetrainOverrides(),
            **self.job_places(),
        )
        places = [f"s3://{self.bucket.name}/{self._place(each)}" for each in missing]
        result = self.run_trainer("prepare", {**job, "prepare": {"function": self._function, "places": places}})
        return {each.key: entry["problem"] for each, entry in zip(missing, result["objects"], strict=True)}

    def _there(self) -> dict[str, S3Object]:
        listed = list_objects(self.bucket.s3, f"s3://{self.bucket.name}/{self._folder}")
        return {each.key: each for each in listed}

    def _place(self, each: S3Object) -> str:
        named = hashlib.sha256(f"{each.key} {each.identity}".encode()).hexdigest()[:24]
        return f"{self._folder}{named}.parquet"

    @property
    def _function(self) -> str:
        return str(project_dir().resolve() / "retrainers" / str(self.retrain.prepare))

    @property
    def _folder(self) -> str:
        """Where what this very function makes is kept."""
        file, _, name = self._function.rpartition(":")
        try:
            digest = hashlib.sha256(Path(file).read_bytes() + name.encode()).hexdigest()[:12]
        except OSError as error:
            raise InvalidInputError(f"retrain.prepare: {file} cannot be read: {error.strerror}") from error
        return f"retrain/{self.spec.name}/prepared/{digest}/"
