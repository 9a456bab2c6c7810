"""Does the window differ from the baseline?"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.drift.judge import DriftVerdict, WindowJudgement, judge
from slipway.drift.policy import policy_of
from slipway.drift.run_report import RunReport, make_run_report
from slipway.drift.status import Status, status_of
from slipway_airflow.operators.drift import DriftOperator, Window

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftJudgeOperator(DriftOperator):
    """Merge the profiles of the window, judge them against the release's baseline, keep what was found.

    :param window: What ``collect`` found. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``run_key`` (of the document with everything), ``status``, ``columns``, ``rows``, ``headline``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "window")

    def __init__(self, *, window: Window, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge; skip when nothing is in production."""
        if self.window["phase"] == "nothing":
            raise AirflowSkipException(f"Endpoint {self.endpoint} has no champion: there is nothing to watch.")
        report = self._learning() if self.window["phase"] == "learning" else self._judged()
        key = self.store.keep_run(report)
        self.log.info("%s", report.text())
        return {
            "run_key": key,
            "status": report.status.value,
            "columns": list(report.drifted_columns)[:50],
            "rows": report.rows,
            "headline": report.headline()[:500],
        }

    def _judged(self) -> RunReport:
        facts = self._facts()
        reference = self.reference_of(self.window)
        window = self.store.window(reference, self.window["variants"], facts["since"], facts["until"])
        judgement = judge(reference.baseline, window, policy_of(self.spec.monitor), reference.blind)
        return make_run_report(judgement, reference, window, status=status_of(judgement, window), **facts)

    def _learning(self) -> RunReport:
        judgement = WindowJudgement(DriftVerdict.NO_DATA, 0, policy_of(self.spec.monitor).alpha, ())
        return RunReport(
            status=Status.LEARNING,
            verdict=judgement.verdict.value,
            rows=self.window["learned_rows"],
            rejected={},
            unknown_columns={},
            last_traffic=None,
            alpha=judgement.alpha,
            baseline={"source": "captures"},
            findings=(),
            measures={},
            **self._facts(),
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "service": self.spec.name,
            "endpoint": self.endpoint,
            "release_id": self.window["release_id"],
            "model": self.window["model"],
            "model_version": self.window["model_version"],
            "since": datetime.fromisoformat(self.window["since"]),
            "until": datetime.fromisoformat(self.window["until"]),
            "objects": self.window["objects"],
        }
