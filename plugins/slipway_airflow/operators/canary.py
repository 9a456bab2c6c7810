"""What the operators of a canary have in common: the promotion as the state has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from slipway.canary.evaluation import FULL_WEIGHT_PCT
from slipway.endpoints.requests import variant_name
from slipway.endpoints.two_variants import champion_variant_name, split
from slipway.errors import CanaryFailedError, SupersededError
from slipway.spec.hooks import AFTER
from slipway.transition import stop
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.stage import StageOperator

if TYPE_CHECKING:
    from slipway.canary.plan import CanaryPlan
    from slipway.spec import ServiceSpec
    from slipway.state import EndpointState, Promotion, Recorded
    from slipway_airflow.hooks.artifact_bucket import ArtifactBucket
    from slipway_airflow.task_run import TaskRun

FINAL = "final"


@dataclass(frozen=True)
class Stop:
    """A place where a promotion asks before it goes on.

    :param promotion: The promotion.
    :param place: ``step 2``: before that step; ``after``: after all steps.
    :param weight_pct: The release's share of the traffic now.
    :param next_weight_pct: Its share when the promotion goes on.
    """

    promotion: Promotion
    place: str
    weight_pct: float
    next_weight_pct: float


@dataclass(frozen=True)
class CanaryUnderWay:
    """A canary that this run has begun, with everything that is only there in a canary."""

    promotion: Promotion
    plan: CanaryPlan
    recorded: Recorded
    champion: str
    challenger: str

    def number_of(self, step: int | str) -> int:
        """Return the number of a step; ``final`` comes after those of the plan."""
        return len(self.plan.weights_pct) + 1 if isinstance(step, str) else step

    def weight_pct(self, number: int) -> float:
        """Return the challenger's share of the traffic in a step, in percent."""
        weights = self.plan.weights_pct
        return weights[number - 1] if number <= len(weights) else FULL_WEIGHT_PCT

    def weights(self, number: int) -> dict[str, float]:
        """Return both variants' weights in a step."""
        return split(self.champion, self.challenger, self.weight_pct(number))

    @property
    def champion_instances(self) -> int:
        """Number of instances that carried all traffic before."""
        return self.recorded.variants[self.champion].instances


@dataclass(frozen=True)
class PromotionView:
    """The promotion of one run, read from the state.

    :param bucket: The artifact bucket.
    :param spec: The service.
    :param run: The task's run.
    """

    bucket: ArtifactBucket
    spec: ServiceSpec
    run: TaskRun

    @property
    def endpoint(self) -> str:
        """Name of the production endpoint."""
        return self.spec.endpoint_name("prod")

    def promotion(self) -> Promotion:
        """Return the promotion, under its prolonged lease.

        :raises AirflowSkipException: the run's release is the champion already; the task was cleared after that.
        :raises SupersededError: the promotion was ended by somebody else.
        """
        state, _ = self.bucket.states.read(self.endpoint)
        skip_finished(state, self.run)
        promotion = state.promotion if state else None
        if promotion is None or promotion.run_id != self.run.run_id:
            raise SupersededError(f"{self.endpoint}: the promotion of {self.run.run_id} is not under way any more.")
        purpose = f"canary of release {promotion.release_id}"
        self.bucket.states.take_lease(self.endpoint, self.run.holder, purpose=purpose, seconds=LEASE_SECONDS)
        return promotion

    def refuse_after_abort(self) -> None:
        """Obey an abort, whatever the strategy; the promotion's teardown reads from the state who said so.

        :raises CanaryFailedError: somebody has aborted this run's promotion.
        """
        state, _ = self.bucket.states.read(self.endpoint)
        promotion = state.promotion if state else None
        if state is None or promotion is None or promotion.run_id != self.run.run_id or state.flags.abort is None:
            return
        reason = f"aborted by {state.flags.abort.said}"
        self.bucket.states.update(self.endpoint, lambda state: stop(state, self.run.run_id, reason))
        raise CanaryFailedError(f"Release {promotion.release_id} is taken back: {reason}")

    def canary(self, step: int | str) -> CanaryUnderWay:
        """Return the canary, under its prolonged lease.

        :param step: Number of the step from 1, or ``final``.
        :raises AirflowSkipException: this promotion has no such step: it is no canary, or its plan is shorter.
        :raises SupersededError: the promotion was ended by somebody else.
        """
        promotion = self.promotion()
        if promotion.plan is None or promotion.recorded is None:
            raise AirflowSkipException(f"Strategy {promotion.strategy} has no steps.")
        if isinstance(step, int) and step > len(promotion.plan.weights_pct):
            raise AirflowSkipException(f"The plan of this run has {len(promotion.plan.weights_pct)} steps.")
        return CanaryUnderWay(
            promotion=promotion,
            plan=promotion.plan,
            recorded=promotion.recorded,
            champion=champion_variant_name(self.endpoint, promotion.recorded),
            challenger=variant_name(self.spec.promote.strategy, promotion.release_id),
        )

    def stop(self, step: int | str) -> Stop:
        """Return where a task asks, under the prolonged lease.

        :param step: Number of the step from 1, ``final``, or ``after``, which is there in every promotion.
        :raises AirflowSkipException: this promotion has no such step.
        :raises SupersededError: the promotion was ended by somebody else.
        """
        if step == AFTER:
            return Stop(self.promotion(), AFTER, FULL_WEIGHT_PCT, FULL_WEIGHT_PCT)
        canary = self.canary(step)
        number = canary.number_of(step)
        present = canary.weight_pct(number - 1) if number > 1 else 0.0
        return Stop(canary.promotion, f"step {number}", present, canary.weight_pct(number))


def skip_finished(state: EndpointState | None, run: TaskRun) -> None:
    """Skip a task on the way to a champion that is there: one that was cleared after its run had recorded it.

    :param state: What is known of the endpoint.
    :param run: The task's run.
    :raises AirflowSkipException: the champion is this run's.
    """
    champion = state.champion if state else None
    if champion and champion.run_id == run.run_id:
        raise AirflowSkipException(f"Release {champion.release_id} of this run is the champion already.")


class CanaryOperator(StageOperator):
    """Base of the operators of one step.

    :param step: Number of the step from 1, ``final`` for the bake at 100 %; for what asks also ``after``.
    :param spec: The service.
    :param platform: The installation.
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None. (templated)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (templated, default: aws_default)
    :param region_name: AWS region; the connection's when None. (templated)
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: Configuration of the botocore clients.
    """

    def __init__(self, *, step: int | str, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})
        self.step = step

    def view(self, run: TaskRun) -> PromotionView:
        """Return what the state says about the promotion of a run.

        :param run: The task's run.
        """
        return PromotionView(self.bucket, self.spec, run)

    def under_way(self, run: TaskRun) -> CanaryUnderWay:
        """Return the canary of a run, under its prolonged lease; see :meth:`PromotionView.canary`.

        :param run: The task's run.
        """
        return self.view(run).canary(self.step)
