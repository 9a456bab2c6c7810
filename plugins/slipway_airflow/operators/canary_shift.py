"""Give the challenger the share of a step."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.canary.progress import StepProgress, find_step, with_step
from slipway.canary.step import Action
from slipway.endpoints.resource import describe
from slipway.endpoints.settle import settled
from slipway.endpoints.traffic import ensure_instances, ensure_weights, has_weights
from slipway.endpoints.two_variants import instances_needed
from slipway.errors import CanaryFailedError, EndpointMissingError
from slipway.transition import lower_flag
from slipway_airflow.operators.canary import CanaryUnderWay
from slipway_airflow.operators.canary_guard import CanaryGuardOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import EndpointState


class CanaryShiftOperator(CanaryGuardOperator):
    """Scale the challenger for a step, then give it its share of the traffic.

    An abort fails the task first, whatever the strategy. While the promotion is held the task waits, and
    what has traffic goes on being judged as beside a gate. "Approve now" is about the step that is
    judged: what was said of it before this one begins is taken back.

    Both are read back; the step begins, in the endpoint's state, when its weights are in force. Run
    again, the task finds the weights as they should be and the step begun, and changes nothing.
    Skips when the promotion's plan has no such step, and refuses while a step before it has no pass.

    :param step: Number of the step from 1, or ``final`` for the bake at 100 %.
    :param poll_seconds: Time in seconds between two reads of the flags while it is held. (default: 3)
    :param deferrable: Whether to wait in the triggerer, without a worker. (default: Airflow's
        ``[operators] default_deferrable``)
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    :return: ``step``, ``weight_pct``, ``began_at``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait while it is held; then scale, shift, note the beginning."""
        run = TaskRun.of(context)
        view = self.view(run)
        view.refuse_after_abort()
        canary = view.canary(self.step)
        number = canary.number_of(self.step)
        _refuse_without_passes(canary, number)
        state, _ = self.bucket.states.read(self.endpoint)
        if state and state.flags.hold and not self._is_shifted(canary, number):
            here = view.stop(self.step)
            self.log.info("%s waits: held by %s.", here.place, state.flags.hold.said)
            return self.watch(context, replace(self._traffic(run, here.weight_pct), gate=here.place, held=True))
        return self._begin_step(run)

    def conclude(self, run: TaskRun, action: str, reason: str) -> dict[str, Any]:
        """Go on when it is not held any more, or fail as a guard does."""
        if action != Action.ADVANCE:
            return super().conclude(run, action, reason)
        return self._begin_step(run)

    def _begin_step(self, run: TaskRun) -> dict[str, Any]:
        self.view(run).refuse_after_abort()
        canary = self.under_way(run)
        number = canary.number_of(self.step)
        _refuse_without_passes(canary, number)
        changed = self._shift(canary, number)
        step = self._begin(canary, number)
        if changed:
            self.bucket.note(
                self.spec.name,
                run,
                "shifted",
                f"endpoint {self.endpoint}",
                step=number,
                weights=canary.weights(number),
                release_id=canary.promotion.release_id,
            )
        self.log.info("Step %d: release %s has %g %%.", number, canary.promotion.release_id, step.weight_pct)
        return {"step": number, "weight_pct": step.weight_pct, "began_at": step.began_at.isoformat()}

    def _is_shifted(self, canary: CanaryUnderWay, number: int) -> bool:
        """Tell whether a try before this one has come as far as the weights: then the step's judge obeys a hold."""
        sagemaker = self.hook.client("sagemaker")
        if describe(sagemaker, "endpoint", self.endpoint) is None:
            return False  # whoever watches what has traffic says so
        return has_weights(settled(sagemaker, self.endpoint, time.sleep), canary.weights(number))

    def _shift(self, canary: CanaryUnderWay, number: int) -> bool:
        sagemaker = self.hook.client("sagemaker")
        found = describe(sagemaker, "endpoint", self.endpoint)
        if found is None:
            raise EndpointMissingError(f"{self.endpoint} was deleted in the middle of its canary.")
        needed = instances_needed(canary.champion_instances, canary.weight_pct(number))
        scaled = ensure_instances(sagemaker, self.endpoint, canary.challenger, needed)
        shifted = ensure_weights(
            sagemaker, self.endpoint, canary.weights(number), config_name=found["EndpointConfigName"]
        )
        return scaled or shifted

    def _begin(self, canary: CanaryUnderWay, number: int) -> StepProgress:
        step = StepProgress(number=number, weight_pct=canary.weight_pct(number), began_at=datetime.now(UTC))

        def change(state: EndpointState) -> EndpointState:
            promotion = state.promotion
            if promotion is None or find_step(promotion.steps, number):
                return state
            begun = promotion.model_copy(update={"steps": with_step(promotion.steps, step)})
            return lower_flag(state.model_copy(update={"promotion": begun}), "approve_now")

        promotion = self.bucket.states.update(self.endpoint, change).promotion
        return (find_step(promotion.steps, number) if promotion else None) or step


def _refuse_without_passes(canary: CanaryUnderWay, number: int) -> None:
    """The plan is frozen, the DAG is not: after an edit of the spec it may lack steps that the plan has."""
    missing = [step for step in canary.plan.missing_passes(canary.promotion.steps) if step < number]
    if missing:
        planned = ", ".join(f"{weight:g}" for weight in canary.plan.weights_pct)
        raise CanaryFailedError(
            f"{canary.weight_pct(number):g} % of the traffic cannot follow yet: of the planned steps ({planned} %) "
            f"{', '.join(f'step {step}' for step in missing)} did not pass. Was `promote` changed in the service's "
            "YAML in mid-canary? Deploy the release again to promote it by the new plan."
        )
