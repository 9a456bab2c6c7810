"""Give the challenger the share of a step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.canary.progress import StepProgress, find_step, with_step
from slipway.endpoints.resource import describe
from slipway.endpoints.traffic import ensure_instances, ensure_weights
from slipway.endpoints.two_variants import instances_needed
from slipway.errors import CanaryFailedError, EndpointMissingError
from slipway_airflow.operators.canary import CanaryOperator, CanaryUnderWay
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.state import EndpointState


class CanaryShiftOperator(CanaryOperator):
    """Scale the challenger for a step, then give it its share of the traffic.

    Both are read back; the step begins, in the endpoint's state, when its weights are in force. Run
    again, the task finds the weights as they should be and the step begun, and changes nothing.
    Skips when the promotion's plan has no such step, and refuses while a step before it has no pass.

    :param step: Number of the step from 1, or ``final`` for the bake at 100 %.
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
        """Scale, shift, note the beginning."""
        run = TaskRun.of(context)
        canary = self.under_way(run)
        number = canary.number_of(self.step)
        self._refuse_after_abort()
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
            return state.model_copy(update={"promotion": begun})

        promotion = self.bucket.states.update(self.endpoint, change).promotion
        return (find_step(promotion.steps, number) if promotion else None) or step

    def _refuse_after_abort(self) -> None:
        state, _ = self.bucket.states.read(self.endpoint)
        abort = state.flags.abort if state else None
        if abort:
            raise CanaryFailedError(f"The promotion was aborted by {abort.said}.")


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
