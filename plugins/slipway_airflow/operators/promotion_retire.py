"""After a promotion: the old champion leaves, the new one scales."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import AirflowSkipException

from slipway.endpoints.requests import WantedEndpoint
from slipway.endpoints.resource import describe
from slipway.endpoints.scaling import ensure_scaling, remove_scaling
from slipway.endpoints.traffic import instances_of, require_all_traffic
from slipway.errors import EndpointBusyError, EndpointMissingError, SlipwayError, SupersededError
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from slipway_airflow.task_run import TaskRun

if TYPE_CHECKING:
    from airflow.sdk import Context

    from slipway.endpoints.outcome import Outcome
    from slipway.state import EndpointState, Serving


class PromotionRetireOperator(SageMakerDeployOperator):
    """Keep the old champion warm for a while, then serve the new one alone and let it scale.

    Within ``keep_warm_minutes`` a rollback takes seconds, because the old champion still stands at
    weight 0. After a first launch nothing has to leave, and only the scaling is set. Skips when
    another release has become the champion meanwhile; refuses when the champion has not all traffic.

    Takes what :class:`SageMakerDeployOperator` takes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"stage": "prod", **kwargs})

    def execute(self, context: Context) -> dict[str, Any]:
        """Wait, without a worker, until the old champion need not be warm any more."""
        run = TaskRun.of(context)
        champion = self._champion(run)
        until = champion.since + timedelta(minutes=self.spec.promote.keep_warm_minutes)
        if self._others() and datetime.now(UTC) < until:
            self.log.info("The old champion stays warm until %s.", until)
            # A cleared run has it again from its first task; meanwhile somebody may have to roll back.
            self.bucket.states.release_lease(self.endpoint, run.holder)
            self.defer(trigger=DateTimeTrigger(moment=until), method_name="retire")
        return self.retire(context)

    def retire(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Serve the champion alone."""
        run = TaskRun.of(context)
        self._champion(run)
        if not self._others():
            return self._settle(run)
        self.bucket.states.take_lease(
            self.endpoint, run.holder, purpose="serve the champion alone", seconds=LEASE_SECONDS
        )
        try:
            self._champion(run)  # once more: from here on nobody else changes it
            self._require_traffic()
        except (AirflowSkipException, SlipwayError):
            self.bucket.states.release_lease(self.endpoint, run.holder)
            raise
        scaling = self.hook.client("application-autoscaling")
        for variant in self._others():
            remove_scaling(scaling, self.endpoint, variant)
        return super().execute(context)

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any],
        since: str | None = None,
        waits: int = 0,
        instance_count: int | None = None,
    ) -> dict[str, Any]:
        """Go on after the trigger has fired, with the size that was asked for."""
        self.instance_count = instance_count or self.instance_count
        return super().execute_complete(context, event, since, waits)

    @cached_property
    def wanted(self) -> WantedEndpoint:
        """The endpoint as it shall be: the champion alone, with as many instances as it has."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if self.instance_count is None and found:
            self.instance_count = instances_of(found).get(self._variant)
        return self.wanted_for(self.release)

    def carried(self) -> dict[str, Any]:
        """Return the size: it names the config, and by then the endpoint may have come to another one."""
        return {"instance_count": self.instance_count}

    @property
    def _variant(self) -> str:
        return str(self.wanted_for(self.release).config["ProductionVariants"][0]["VariantName"])

    def _others(self) -> list[str]:
        """Variants that stand on the endpoint beside the champion."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        return [name for name in (instances_of(found) if found else {}) if name != self._variant]

    def _require_traffic(self) -> None:
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if found is None:
            raise EndpointMissingError(f"{self.endpoint} was deleted; run the deployment again to launch it anew.")
        require_all_traffic(
            found,
            self._variant,
            f"Nothing was changed. If the traffic was taken from it on purpose, `slipway rollback {self.spec.name}` "
            "records that; otherwise give it all weight again and clear this task.",
        )

    def _champion(self, run: TaskRun) -> Serving:
        state, _ = self.bucket.states.read(self.endpoint)
        champion = state.champion if state else None
        if champion is None or champion.run_id != run.run_id:
            raise AirflowSkipException(f"{self.endpoint}: another release has become the champion.")
        if champion.release_id != self.release_id:
            raise SupersededError(
                f"{self.endpoint}: release {champion.release_id} is the champion by this run, not {self.release_id}, "
                "which this task was given. Nothing was changed."
            )
        if state and state.promotion:
            raise EndpointBusyError(
                f"{self.endpoint}: {state.promotion.run_id} promotes release {state.promotion.release_id}, and needs "
                "what stands there. When it has ended, there is nothing left to do here, or this task can be cleared."
            )
        return champion

    def _settle(self, run: TaskRun) -> dict[str, Any]:
        """Nothing has to leave: a first launch, or an earlier try was killed after its update."""
        found = describe(self.hook.client("sagemaker"), "endpoint", self.endpoint)
        if found is None:
            raise EndpointMissingError(f"{self.endpoint} was deleted; run the deployment again to launch it anew.")
        self._note_config(run, str(found["EndpointConfigName"]))
        self._let_scale(run)
        return {
            "endpoint": self.endpoint,
            "config_name": found["EndpointConfigName"],
            "release_id": self.release_id,
        }

    def _record(self, run: TaskRun, outcome: Outcome) -> None:
        """Note the config that serves the champion alone, let it scale, give the lease back."""
        super()._record(run, outcome)
        self._note_config(run, self.wanted.config_name)
        self._let_scale(run)

    def _note_config(self, run: TaskRun, config_name: str) -> None:

        def change(state: EndpointState) -> EndpointState:
            if state.champion is None or state.champion.run_id != run.run_id:
                return state
            return state.model_copy(update={"champion": state.champion.model_copy(update={"config_name": config_name})})

        self.bucket.states.update(self.endpoint, change)

    def _let_scale(self, run: TaskRun) -> None:
        scaling = self.hook.client("application-autoscaling")
        ensure_scaling(scaling, self.endpoint, self._variant, self.spec.stage("prod").instances)
        self.bucket.states.release_lease(self.endpoint, run.holder)
