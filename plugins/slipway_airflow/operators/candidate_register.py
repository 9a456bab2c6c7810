"""Put a retrained model into the registry, as the candidate or tagged as held."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slipway.errors import PermanentError
from slipway.registry import set_alias_if_changed
from slipway.training.job import DATA_UNTIL_TAG
from slipway.training.registration import find_or_register
from slipway.training.store import from_record
from slipway_airflow.operators.data_validate import VALIDATION
from slipway_airflow.operators.model_refit import RESULT
from slipway_airflow.operators.retrain_task import RetrainTaskOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

CANDIDATE = "candidate"


class CandidateRegisterOperator(RetrainTaskOperator):
    """Register the run's model once, tag it with where it comes from, and advance the watermark.

    :param verdict: The gate's verdict. (templated)
    :param as_candidate: Point the alias ``candidate`` at it and emit the task's outlets; else it is only tagged.
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :return: ``version``.
    """

    template_fields = (*RetrainTaskOperator.template_fields, "verdict")

    def __init__(self, *, verdict: Any, as_candidate: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verdict = verdict
        self.as_candidate = as_candidate

    def execute(self, context: Context) -> dict[str, Any]:
        """Register."""
        run = TaskRun.of(context)
        result = self.store.read(run.run_id, RESULT)
        if result is None:
            raise PermanentError(f"Run {run.run_id} has no result of a training; clear refit.")
        tags = self._tags(run, result)
        version = find_or_register(
            self.registry.client, self.spec.model, run_id=result["run_id"], model_uri=result["model_uri"], tags=tags
        )
        action = "candidate_registered" if self.as_candidate else "candidate_held"
        if self.as_candidate:
            set_alias_if_changed(self.registry.client, self.spec.model, CANDIDATE, version)
            for outlet in self.outlets:
                context["outlet_events"][outlet].extra = {"version": version}
        self._advance(run.run_id)
        subject = f"{self.spec.model} version {version}"
        self.bucket.note(self.spec.name, run, action, subject, verdict=self.verdict, mlflow_run=result["run_id"])
        self.log.info("%s: %s, %s", action, subject, self.verdict["reason"])
        return {"version": version}

    def _tags(self, run: TaskRun, result: dict[str, Any]) -> dict[str, str]:
        return {
            "slipway.service": self.spec.name,
            "slipway.run_id": run.run_id,
            "slipway.parent_version": str(result["champion_version"] or ""),
            "slipway.data_digest": result["data_digest"],
            DATA_UNTIL_TAG: result["window"]["last"].replace(" ", "T"),
            "slipway.gate": self.verdict["action"],
            "slipway.gate_reason": self.verdict["reason"][:4000],
            "slipway.comparisons": json.dumps(self.verdict["comparisons"])[:4000],
        }

    def _advance(self, run_id: str) -> None:
        validation = self.store.read(run_id, VALIDATION) or {"objects": []}
        taken = [from_record(entry) for entry in validation["objects"] if entry["passed"]]
        self.store.advance(lambda watermark: watermark.advanced(taken=taken))
