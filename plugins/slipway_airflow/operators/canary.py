"""What the operators of a canary have in common: the promotion as the state has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from slipway.canary.evaluation import FULL_WEIGHT_PCT
from slipway.endpoints.requests import variant_name
from slipway.endpoints.two_variants import champion_variant_name, split
from slipway.errors import SupersededError
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.stage import StageOperator

if TYPE_CHECKING:
    from slipway.canary.plan import CanaryPlan
    from slipway.state import Promotion, Recorded
    from slipway_airflow.task_run import TaskRun

FINAL = "final"


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


class CanaryOperator(StageOperator):
    """Base of the operators of one step.

    :param step: Number of the step from 1, or ``final`` for the bake at 100 %.
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

    def under_way(self, run: TaskRun) -> CanaryUnderWay:
        """Return the canary of this run, under its prolonged lease.

        :param run: The task's run.
        :raises AirflowSkipException: this promotion has no such step: it is no canary, or its plan is shorter.
        :raises SupersededError: the promotion was ended by somebody else.
        """
        state, _ = self.bucket.states.read(self.endpoint)
        promotion = state.promotion if state else None
        if promotion is None or promotion.run_id != run.run_id:
            raise SupersededError(f"{self.endpoint}: the promotion of {run.run_id} is not under way any more.")
        if promotion.plan is None or promotion.recorded is None:
            raise AirflowSkipException(f"Strategy {promotion.strategy} has no steps.")
        canary = CanaryUnderWay(
            promotion=promotion,
            plan=promotion.plan,
            recorded=promotion.recorded,
            champion=champion_variant_name(self.endpoint, promotion.recorded),
            challenger=variant_name(self.spec.promote.strategy, promotion.release_id),
        )
        number = canary.number_of(self.step)
        if isinstance(self.step, int) and number > len(canary.plan.weights_pct):
            raise AirflowSkipException(f"The plan of this run has {len(canary.plan.weights_pct)} steps.")
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"canary of release {promotion.release_id}", seconds=LEASE_SECONDS
        )
        return canary
