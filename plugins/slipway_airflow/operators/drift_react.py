"""Drift sets off a retraining, when the policy says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.drift.status import MonitorState, decide
from slipway_airflow.operators.drift import DriftOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftReactOperator(DriftOperator):
    """Emit the task's outlet assets when drift shall set off a retraining; skip with the reason otherwise.

    ``monitor.on_drift`` decides, within ``monitor.cooldown_hours`` and ``monitor.max_retrains_per_month``.

    :param run_key: Key of what ``judge`` found. (templated)
    :param outlets: The assets to emit.
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    template_fields = aws_template_fields("bucket_conn_id", "run_key")

    def __init__(self, *, run_key: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_key = run_key

    def execute(self, context: Context) -> None:
        """Decide, write it down, emit."""
        report = self.store.run(self.run_key)
        state = self.store.state()
        if report.until not in state.retrains:  # else an earlier try of this task decided already
            decision = decide(report.status, report.drifted_columns, report.until, state, self.spec.monitor)
            self.log.info("%s", decision.reason)
            if not decision.retrain:
                raise AirflowSkipException(decision.reason)
            self.store.change_state(lambda found: _with_retrain(found, report.until))
            detail = {"columns": list(report.drifted_columns), "until": report.until.isoformat()}
            self.bucket.note(self.spec.name, TaskRun.of(context), "retrain_asked", self.spec.model, **detail)
        for outlet in self.outlets:
            context["outlet_events"][outlet].extra = {
                "columns": ", ".join(report.drifted_columns[:50]),
                "until": report.until.isoformat(),
                "release_id": report.release_id,
            }


def _with_retrain(state: MonitorState, at: Any) -> MonitorState:
    return state.model_copy(update={"retrains": (*state.retrains, at)[-100:]})
