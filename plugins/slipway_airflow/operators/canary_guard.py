"""Judge the traffic that a release has while a person is asked whether it may have more."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slipway.canary.step import Action
from slipway.endpoints.way_back import stop_harm
from slipway.errors import CanaryFailedError, EndpointMissingError
from slipway.spec.hooks import AFTER
from slipway_airflow.canary_watch import WatchRequest
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.canary_judge import CanaryJudgeOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context


class CanaryGuardOperator(CanaryJudgeOperator):
    """Guard a gate until it is answered: beside :class:`PromotionGateOperator`, not after it.

    The step that has the traffic goes on being judged, an abort is obeyed, and the lease is kept. A
    failure gives the champion all traffic at once and fails the task; Airflow runs the promotion's
    teardown, which restores the rest, only when the gate has ended, too. Skips when the promotion has no such step.

    :param step: Number of the step that the gate stands before, ``final`` for all traffic, or ``after``.
    :param poll_seconds: Time in seconds between two reads of the flags. (default: 3)
    :param deferrable: Whether to watch in the triggerer, without a worker. (default: Airflow's
        ``[operators] default_deferrable``)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``place``, ``reason``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Guard: here, or in the triggerer."""
        run = TaskRun.of(context)
        stop = self.view(run).stop(self.step)
        return self.watch(context, replace(self._traffic(run, stop.weight_pct), gate=stop.place))

    def conclude(self, run: TaskRun, action: str, reason: str) -> dict[str, Any]:
        """End with the answer, or fail."""
        if action != Action.ADVANCE:
            self._give_traffic_back(run)
            raise CanaryFailedError(f"{self.endpoint}: the release is taken back: {reason}")
        self.log.info("The gate is not guarded any more: %s", reason)
        return {"step": self.step, "reason": reason}

    def _give_traffic_back(self, run: TaskRun) -> None:
        """Stop the harm as the teardown would."""
        promotion = self.view(run).promotion()
        if promotion.recorded:
            with suppress(EndpointMissingError):  # the teardown, which has the rest to put back, says so
                stop_harm(self.hook.client("sagemaker"), self.endpoint, promotion, promotion.recorded)

    def _traffic(self, run: TaskRun, weight_pct: float) -> WatchRequest:
        """Return the watch of the traffic that the release has; it judges nothing where there is none to compare."""
        promotion = self.view(run).promotion()
        if weight_pct == 0 or promotion.plan is None:
            return WatchRequest(
                step=self.watched(run, 0),
                rules={},
                bucket=self.bucket.name,
                config_name="",
                weights={},
                challenger="",
                champion="",
                latency_slo_ms=0.0,
            )
        canary = self.view(run).canary(FINAL if self.step == AFTER else self.step)
        number = canary.number_of(self.step)
        return self.request_for(run, canary, number if self.step == AFTER else number - 1)
