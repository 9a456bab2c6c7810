"""Bring the challenger onto the endpoint, without traffic; or launch it where there is no champion."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call
from slipway.canary.alarm import CanaryAlarm, ensure_alarm
from slipway.endpoints.requests import Account, WantedEndpoint, variant_name
from slipway.endpoints.scaling import suspend_scaling
from slipway.endpoints.two_variants import champion_variant_name, wanted_canary
from slipway.errors import SupersededError
from slipway.spec.override import override_stage
from slipway_airflow.operators.canary import PromotionView, skip_finished
from slipway_airflow.operators.promotion_begin import CANARY
from slipway_airflow.operators.promotion_launch import PromotionLaunchOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import EndpointState, Promotion, Recorded


class CanaryPrepareOperator(PromotionLaunchOperator):
    """Put champion and challenger on one endpoint, the challenger at weight 0.

    This is one of the two updates of a canary that make SageMaker move all variants to new
    instances; until the end only weights and sizes change. The champion's scaling is suspended, so
    that it keeps the size to take all traffic back. A first launch, or strategy ``all_at_once``,
    launches the release with all traffic instead.

    Takes what :class:`SageMakerDeployOperator` takes.

    :return: ``endpoint``, ``config_name``, ``release_id``, and ``variant``: the challenger's in a canary, else None.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Suspend the champion's scaling, then update the endpoint."""
        state, _ = self.bucket.states.read(self.endpoint)
        skip_finished(state, TaskRun.of(context))
        self._refuse_after_abort(context)
        if recorded := self._canary_record:
            champion = champion_variant_name(self.endpoint, recorded)
            suspend_scaling(self.hook.client("application-autoscaling"), self.endpoint, champion)
        return self._with_variant(context, super().execute(context))

    def execute_complete(
        self, context: Context, event: dict[str, Any], since: str | None = None, waits: int = 0
    ) -> dict[str, Any]:
        """Go on after the trigger has fired."""
        return self._with_variant(context, super().execute_complete(context, event, since, waits))

    @property
    def staying(self) -> set[str]:
        """Variants of the endpoint that are there after the launch."""
        recorded = self._canary_record
        return super().staying | ({champion_variant_name(self.endpoint, recorded)} if recorded else set())

    @cached_property
    def wanted(self) -> WantedEndpoint:
        """The endpoint as it shall be."""
        recorded = self._canary_record
        if recorded is None:
            return super().wanted
        with aws_call(f"read endpoint config {recorded.config_name}"):
            config = self.hook.client("sagemaker").describe_endpoint_config(EndpointConfigName=recorded.config_name)
        spec = override_stage(
            self.spec, self.stage, instance_type=self.instance_type, instance_count=self.instance_count
        )
        account = Account(self.hook.account_id, self.hook.conn_region_name)
        return wanted_canary(
            spec,
            self.release,
            self.platform,
            account,
            bucket=self.bucket.name,
            recorded=recorded,
            recorded_config=config,
        )

    @property
    def _promotion(self) -> Promotion:
        state, _ = self.bucket.states.read(self.endpoint)
        promotion = state.promotion if state else None
        if promotion is None or promotion.release_id != self.release_id:
            raise SupersededError(f"{self.endpoint}: the promotion of release {self.release_id} is not under way.")
        return promotion

    def _set_alarm(self, run: TaskRun) -> None:
        """Let CloudWatch watch, too, when the spec names a topic that can be told."""
        topic = self.spec.notify.sns_topic_arn
        if topic is None:
            self.log.info("No alarm: the spec has no notify.sns_topic_arn that could be told.")
            return
        promote = self.spec.promote
        alarm = CanaryAlarm(
            endpoint=self.endpoint,
            challenger=variant_name(promote.strategy, self.release_id),
            topic_arn=topic,
            period_seconds=promote.metrics.period_seconds,
            ignore_below_pct=promote.ignore_errors_below_pct,
            tags=dict(self.wanted.tags),
        )
        # The state first: a rollback deletes what it names, whether or not it was made yet.
        self.bucket.states.update(self.endpoint, lambda state: _with_alarm(state, run.run_id, alarm.name))
        if ensure_alarm(self.hook.client("cloudwatch"), alarm):
            self.bucket.note(self.spec.name, run, "created", f"alarm {alarm.name}", endpoint=self.endpoint)

    @property
    def _canary_record(self) -> Recorded | None:
        """What the endpoint served before, when this promotion is a canary."""
        return self._promotion.recorded if self._promotion.strategy == CANARY else None

    def _refuse_after_abort(self, context: Context) -> None:
        PromotionView(self.bucket, self.spec, TaskRun.of(context)).refuse_after_abort()

    def _with_variant(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        self._refuse_after_abort(context)  # what was said while the endpoint was updated
        if self._canary_record:
            self._set_alarm(TaskRun.of(context))
        variant = variant_name(self.spec.promote.strategy, self.release_id) if self._canary_record else None
        return {**result, "variant": variant}


def _with_alarm(state: EndpointState, run_id: str, name: str) -> EndpointState:
    promotion = state.promotion
    if promotion is None or promotion.run_id != run_id:
        return state
    return state.model_copy(update={"promotion": promotion.model_copy(update={"alarm": name})})
