"""Give a release all production traffic at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.endpoints.resource import describe
from slipway.endpoints.scaling import remove_scaling
from slipway.endpoints.traffic import instances_of
from slipway.transition import launch
from slipway_airflow.operators.promotion_begin import FIRST_LAUNCH, LEASE_SECONDS
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context


class PromotionLaunchOperator(SageMakerDeployOperator):
    """Launch or update the production endpoint under the lease of the promotion.

    Takes what :class:`SageMakerDeployOperator` takes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Prolong the lease, then launch."""
        self.bucket.states.take_lease(
            self.endpoint,
            TaskRun.of(context).holder,
            purpose=f"launch release {self.release_id}",
            seconds=LEASE_SECONDS,
        )
        self._keep_config(TaskRun.of(context))
        self._let_go_of_leaving()
        return super().execute(context)

    def _keep_config(self, run: TaskRun) -> None:
        """Write down what is launched before it is: when it is undone, the spec may ask for something else."""
        config_name = self.wanted.config_name
        self.bucket.states.update(self.endpoint, lambda state: launch(state, run.run_id, config_name))

    def _let_go_of_leaving(self) -> None:
        """AWS refuses an update that takes away a variant which is registered for scaling."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        staying = {variant["VariantName"] for variant in self.wanted.config["ProductionVariants"]}
        for variant in instances_of(found) if found else ():
            if variant not in staying:
                remove_scaling(self.hook.client("application-autoscaling"), self.endpoint, variant)

    def may_replace_failed(self) -> bool:
        """Tell whether a failed endpoint may be made anew: when it never served a champion."""
        state, _ = self.bucket.states.read(self.endpoint)
        return bool(state and state.promotion and state.promotion.strategy == FIRST_LAUNCH)
