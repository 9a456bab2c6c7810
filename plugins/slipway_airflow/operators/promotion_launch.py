"""Give a release all production traffic at once."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slipway.endpoints.requests import variant_name
from slipway.endpoints.resource import describe
from slipway.endpoints.scaling import ensure_scaling, remove_scaling
from slipway.endpoints.settle import keeps_its_config, settled
from slipway.endpoints.traffic import instances_of
from slipway.transition import launch, record_sizes
from slipway_airflow.operators.promotion_begin import ALL_AT_ONCE, FIRST_LAUNCH, LEASE_SECONDS
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.endpoints.outcome import Outcome
    from slipway.endpoints.requests import WantedEndpoint
    from slipway.state import Recorded


class PromotionLaunchOperator(SageMakerDeployOperator):
    """Launch or update the production endpoint under the lease of the promotion.

    A release that takes all traffic of another one at once gets as many instances as that one had, within the spec's
    range, and scales from then on: gates and hooks may hold the promotion for days after it.

    Takes what :class:`SageMakerDeployOperator` takes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Prolong the lease, let what serves come to rest, then launch."""
        run = TaskRun.of(context)
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose=f"launch release {self.release_id}", seconds=LEASE_SECONDS
        )
        self._let_go_of_leaving()
        self._keep_sizes(run)
        self._keep_config(run)
        return super().execute(context)

    @property
    def staying(self) -> set[str]:
        """Variants of the endpoint that are there after the launch."""
        return {variant_name(self.spec.promote.strategy, self.release_id)}

    @cached_property
    def wanted(self) -> WantedEndpoint:
        """The endpoint as it shall be; the same in each try, since the state keeps what was there before."""
        if self._replaced is None:
            return self.wanted_for(self.release)
        carried = max(share.instances for share in self._replaced.variants.values())
        return self.wanted_for(self.release, self.spec.stage(self.stage).instances.within(carried))

    @cached_property
    def _replaced(self) -> Recorded | None:
        """What the endpoint served before, when this release takes all of its traffic at once."""
        state, _ = self.bucket.states.read(self.endpoint)
        promotion = state.promotion if state else None
        if promotion is None or (promotion.release_id, promotion.strategy) != (self.release_id, ALL_AT_ONCE):
            return None
        return promotion.recorded

    def _record(self, run: TaskRun, outcome: Outcome) -> None:
        """Let the release scale as soon as it has the traffic of another one; not with a size of this run's own."""
        super()._record(run, outcome)
        if self._replaced is not None and self.instance_count is None:
            scaling, instances = self.hook.client("application-autoscaling"), self.spec.stage(self.stage).instances
            for variant in self.wanted.config["ProductionVariants"]:
                ensure_scaling(scaling, self.endpoint, variant["VariantName"], instances)

    def _keep_config(self, run: TaskRun) -> None:
        """Write down what is launched before it is: when it is undone, the spec may ask for something else."""
        config_name = self.wanted.config_name
        self.bucket.states.update(self.endpoint, lambda state: launch(state, run.run_id, config_name))

    def _let_go_of_leaving(self) -> None:
        """AWS refuses an update that takes away a variant which is registered for scaling."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        for variant in instances_of(found) if found else ():
            if variant not in self.staying:
                remove_scaling(self.hook.client("application-autoscaling"), self.endpoint, variant)

    def _keep_sizes(self, run: TaskRun) -> None:
        """Write down the size of what serves, once scaling, which has been told to stop by now, is done with it."""
        sagemaker = self.hook.client("sagemaker")
        found = describe(sagemaker, "endpoint", self.endpoint)
        if found is None:
            return
        if keeps_its_config(found):
            self.log.info("%s is %s on its config; waiting for that.", self.endpoint, found["EndpointStatus"])
            found = settled(sagemaker, self.endpoint, time.sleep)
        instances = instances_of(found)
        self.bucket.states.update(self.endpoint, lambda state: record_sizes(state, run.run_id, instances))

    def may_replace_failed(self) -> bool:
        """Tell whether a failed endpoint may be made anew: when it never served a champion."""
        state, _ = self.bucket.states.read(self.endpoint)
        return bool(state and state.promotion and state.promotion.strategy == FIRST_LAUNCH)
