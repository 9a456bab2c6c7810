"""How good were the answers, now that the outcomes are known?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.drift.policy import policy_of
from slipway.drift.quality.policy import quality_policy
from slipway.drift.quality.window import label_files, mature_window, measure_quality
from slipway_airflow.operators.drift import DriftOperator, Window

if TYPE_CHECKING:
    from airflow.sdk import Context


class DriftQualityOperator(DriftOperator):
    """Join captured calls with the outcomes in ``monitor.labels`` and judge the answers by ``monitor.quality``.

    Looks at the latest window of calls whose outcomes have had ``monitor.quality.wait_hours`` to arrive.

    :param window: What ``collect`` found. (templated)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account and of the outcomes. (templated, default:
        aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``verdict``, ``calls``, ``rows`` (with an outcome), ``headline``.
    """

    template_fields = aws_template_fields("bucket_conn_id", "window")

    def __init__(self, *, window: Window, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = window

    def execute(self, context: Context) -> dict[str, Any]:
        """Measure; skip when there is nothing to measure."""
        prefix, state = self.spec.monitor.labels, self.bucket.states.read(self.endpoint)[0]
        if prefix is None or state is None or state.champion is None or self.window["phase"] != "judge":
            raise AirflowSkipException("There are no outcomes to look for (monitor.labels), or nothing to compare.")
        policy = quality_policy(self.spec.monitor)
        until = datetime.fromisoformat(self.window["until"])
        length = timedelta(hours=self.spec.monitor.window_hours)
        mature = mature_window(until, length, policy, state.champion.since)
        report = measure_quality(
            self.store,
            label_files(self.hook.client("s3"), prefix, mature[0]),
            self.reference_of(self.window).schema,
            policy,
            self.window["variants"],
            mature,
            policy_of(self.spec.monitor).alpha,
        )
        self.store.keep_quality(until, report)
        self.log.info("%s", report.headline())
        for name, reason in report.refused.items():
            self.log.warning("Outcomes in %s%s cannot be read: %s", prefix, name, reason)
        whole = report.whole
        return {
            "verdict": report.verdict.value,
            "calls": whole.calls,
            "rows": whole.rows,
            "headline": report.headline()[:500],
        }
