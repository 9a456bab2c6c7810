"""Is the endpoint well? Asked on a schedule, told by CloudWatch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.sdk.exceptions import AirflowSkipException

from slipway.alarms.apply import apply_alarms
from slipway.alarms.definition import PROBE
from slipway.artifacts.golden import GoldenRows
from slipway.drift.publication.cloudwatch import put_metrics
from slipway.endpoints.probe import probe_endpoint
from slipway.endpoints.requests import variant_name
from slipway.errors import PermanentError
from slipway_airflow.operators.drift import DriftOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import Serving


class EndpointProbeOperator(DriftOperator):
    """Keep the service's alarms and dashboard as the spec says, then ask the champion its golden rows.

    The champion itself is asked, whoever has the traffic of a canary.

    A probe that fails does not fail the task: the metric ``Failed`` in ``Slipway/Probe`` is 1, and its alarm tells.

    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``failed``, ``problem``, ``latency_ms``, ``rows``.
    """

    template_fields = aws_template_fields("bucket_conn_id")

    def execute(self, context: Context) -> dict[str, Any]:
        """Alarms, dashboard, probe; skip when nothing is in production."""
        state, _ = self.bucket.states.read(self.endpoint)
        champion = state.champion if state else None
        if champion is None:
            raise AirflowSkipException(f"Endpoint {self.endpoint} has no champion: there is nothing to probe.")
        self._alarms(context, champion)
        variant = variant_name(self.spec.promote.strategy, champion.release_id)
        runtime = self.hook.client("sagemaker-runtime")
        probe = probe_endpoint(runtime, self.endpoint, self._golden(champion), variant=variant)
        self._publish({"Failed": float(probe.failed), **({} if probe.failed else {"LatencyMs": probe.latency_ms})})
        if probe.failed:
            self.log.error("The probe of %s failed: %s", self.endpoint, probe.problem)
        else:
            self.log.info("%d golden rows answered as the model does, in %.0f ms.", probe.rows, probe.latency_ms)
        return {
            "failed": probe.failed,
            "problem": probe.problem[:500],
            "latency_ms": round(probe.latency_ms, 1),
            "rows": probe.rows,
        }

    def _alarms(self, context: Context, champion: Serving) -> None:
        changes = apply_alarms(self.hook.client("cloudwatch"), self.spec, champion.release_id)
        if changes:
            detail = {"put": list(changes.put), "deleted": list(changes.deleted), "dashboard": changes.dashboard}
            self.bucket.note(self.spec.name, TaskRun.of(context), "alarms_changed", self.endpoint, **detail)
            self.log.info("Alarms put: %s; deleted: %s.", ", ".join(changes.put), ", ".join(changes.deleted))

    def _golden(self, champion: Serving) -> GoldenRows:
        key = f"releases/{self.spec.name}/{champion.release_id}/golden.json"
        document = self.bucket.documents.read(key)
        if document is None:
            raise PermanentError(
                f"There are no golden rows at {self.bucket.documents.uri(key)}: run {self.spec.name}.deploy again."
            )
        return GoldenRows.from_json(document.body)

    def _publish(self, values: dict[str, float]) -> None:
        dimensions = [{"Name": "Service", "Value": self.spec.name}]
        now = datetime.now(UTC)
        data = [
            {"MetricName": name, "Value": value, "Dimensions": dimensions, "Timestamp": now}
            for name, value in values.items()
        ]
        put_metrics(self.hook.client("cloudwatch"), PROBE, data)
