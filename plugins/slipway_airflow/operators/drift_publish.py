"""Tell everybody who wants to know what the monitor found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.aws_errors import aws_call
from slipway.drift.history import change_text, changes_of
from slipway.drift.model_monitor import (
    find_violations,
    read_constraints,
    write_constraints,
    write_statistics,
    write_violations,
)
from slipway.drift.publication.cloudwatch import (
    MODEL_MONITOR_NAMESPACE,
    NAMESPACE,
    drift_metrics,
    model_monitor_metrics,
    put_metrics,
    quality_metrics,
)
from slipway.drift.publication.history import history_file
from slipway.drift.publication.page import make_page
from slipway.drift.quality.report import TOLD, QualityReport, QualityVerdict
from slipway.drift.run_report import RunReport, stamp
from slipway.drift.status import Change, MonitorState, Status, advance
from slipway.errors import PermanentError
from slipway_airflow.operators.drift import DriftOperator, Window
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.drift.profile import Profile
    from slipway.drift.reference import Reference

_HISTORY_RUNS = 200
_SUBJECT_CHARACTERS = 100


class DriftPublishOperator(DriftOperator):
    """Publish a run: history, report, a message when the state changed, CloudWatch, MLflow.

    :param window: What ``collect`` found. (templated)
    :param judged: What ``judge`` returned; None when it did not get so far. (templated)
    :param mlflow_conn_id: The Airflow connection of MLflow. (templated, default: mlflow_default)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``changed`` (whether this run changed the state, in this try or an earlier one), ``report_uri``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "window", "judged", "mlflow_conn_id")

    def __init__(
        self,
        *,
        window: Window,
        judged: dict[str, Any] | None,
        mlflow_conn_id: str = "mlflow_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.window = window
        self.judged = judged
        self.mlflow_conn_id = mlflow_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Publish; every step may be done again. A failure of ``quality`` is told, and is no reason to be silent."""
        if self.window["phase"] == "nothing":
            raise AirflowSkipException(f"Endpoint {self.endpoint} has no champion: there is nothing to tell.")
        if not self.judged:
            raise PermanentError(f"{self.spec.name}.monitor judged nothing in this run: see its failed tasks.")
        report = self.store.run(self.judged["run_key"])
        self.store.keep(f"history/{stamp(report.until)}.parquet", history_file(report))
        quality = self._quality(report)
        page = self._page(report, quality)
        # People first: what is told is remembered, so that a try again, because metrics failed, tells nobody twice.
        self._tell_quality(context, quality, page)
        self.store.change_state(lambda state: _with_quality(state, quality))
        change = self._change(self.store.state(), report)
        if change.changed:
            self._tell(TaskRun.of(context), report, change, page)
        state = self.store.change_state(lambda state: self._change(state, report).state)
        self._metrics(report, quality)
        self._mlflow(report, quality)
        return {"changed": state.since == report.until, "report_uri": page}

    def _quality(self, report: RunReport) -> QualityReport | None:
        """What ``quality`` left; where it had something to measure and left nothing, it failed."""
        if not self.spec.monitor.labels or self.window["phase"] != "judge":
            return None
        return self.store.quality(report.until) or QualityReport.failed(report.until)

    def _page(self, report: RunReport, quality: QualityReport | None) -> str:
        if report.status is Status.LEARNING:
            return ""
        reference = self.reference_of(self.window)
        window = self.store.window(reference, self.window["variants"], report.since, report.until)
        self._model_monitor(report, reference, window)
        page = make_page(report, reference, window, list(self.store.runs(_HISTORY_RUNS)), quality).encode()
        key = self.store.put_page("reports/latest.html", page)
        if report.status is Status.DRIFTED:
            key = self.store.put_page(f"reports/{stamp(report.until)}.html", page)
        return self.store.uri(key)

    def _model_monitor(self, report: RunReport, reference: Reference, window: Profile) -> None:
        """The files of Model Monitor, for tools that read them."""
        constraints = self.store.constraints() or write_constraints(reference, self.spec.monitor.tolerance)
        files = {
            "statistics.json": write_statistics(reference, window),
            "constraints.json": constraints,
            "constraint_violations.json": write_violations(
                find_violations(read_constraints(constraints), report, window)
            ),
        }
        for name, document in files.items():
            self.store.keep(f"model_monitor/{name}", json.dumps(document, indent=1).encode())

    def _metrics(self, report: RunReport, quality: QualityReport | None) -> None:
        cloudwatch = self.hook.client("cloudwatch")
        put_metrics(cloudwatch, NAMESPACE, drift_metrics(report))
        if quality is not None:
            put_metrics(cloudwatch, NAMESPACE, quality_metrics(report, quality))
        schedule = f"{self.spec.name}-monitor"
        put_metrics(cloudwatch, MODEL_MONITOR_NAMESPACE, model_monitor_metrics(report, schedule))

    def _change(self, state: MonitorState, report: RunReport) -> Change:
        return advance(
            state,
            report.status,
            report.drifted_columns,
            report.release_id,
            report.until,
            report.last_traffic,
            self.spec.monitor,
        )

    def _tell(self, run: TaskRun, report: RunReport, change: Change, page: str) -> None:
        before = change.before.value if change.before else "nothing known"
        detail = {"columns": list(change.state.columns), "before": before, "report": page}
        self.bucket.note(self.spec.name, run, "drift_status", change.state.status or "", **detail)
        began = [
            change_text(column, changes[-1])
            for column, changes in changes_of(list(self.store.runs(_HISTORY_RUNS))).items()
            if column in report.drifted_columns
        ]
        when = ["", "When it began:", *began] if began else []
        self._message(report.headline(), [report.text(), *when, "", f"Before: {before}", f"Report: {page or 'none'}"])

    def _tell_quality(self, context: Context, quality: QualityReport | None, page: str) -> None:
        """A message when the answers became worse than the spec allows, and when they are good again."""
        before = self.store.state().quality
        if quality is None or quality.verdict not in TOLD or quality.verdict == (before or QualityVerdict.GOOD):
            return
        detail = {"before": before or "nothing known", "headline": quality.headline(), "report": page}
        self.bucket.note(self.spec.name, TaskRun.of(context), "quality_status", quality.verdict.value, **detail)
        worst = [f"{each.feature} {each.value}: {', '.join(each.broken)}" for each in quality.slices[1:] if each.broken]
        slices = ["", "Slices that break a bound:", *worst] if worst else []
        bounds = [f"{each.text}: {'kept' if each.kept else 'not kept'}" for each in quality.bounds]
        failed = quality.verdict is QualityVerdict.FAILED
        became = "could not be measured" if failed else f"is {quality.verdict.value.lower()}"
        subject = f"{self.spec.name} quality {became}"
        self._message(subject, [quality.headline(), *bounds, *slices, "", f"Report: {page or 'none'}"])

    def _message(self, headline: str, lines: list[str]) -> None:
        topic = self.spec.notify.sns_topic_arn
        if topic is None:
            self.log.info("%s. notify.sns_topic_arn is not set, so nobody is told.", headline)
            return
        subject = headline.encode("ascii", "replace").decode()[:_SUBJECT_CHARACTERS]
        text = "\n".join([*lines, f"Owner: {self.spec.owner}", ""])
        with aws_call(f"publish to {topic}"):
            self.hook.client("sns").publish(TopicArn=topic, Subject=subject, Message=text)

    def _mlflow(self, report: RunReport, quality: QualityReport | None) -> None:
        measured = quality is not None and quality.whole.metrics
        if not self.window["run_id"] or not (report.findings or measured):
            return
        from slipway.drift.publication.mlflow_metrics import log_metrics, metric_values, quality_values
        from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook

        client, run_id = MlflowRegistryHook(self.mlflow_conn_id).client, self.window["run_id"]
        if report.findings:
            log_metrics(client, run_id, metric_values(report), report.until)
        if quality is not None and measured:
            log_metrics(client, run_id, quality_values(quality), quality.until)


def _with_quality(state: MonitorState, quality: QualityReport | None) -> MonitorState:
    if quality is None or quality.verdict not in TOLD:
        return state
    return state.model_copy(update={"quality": quality.verdict.value})
