"""Champions of before that a promotion left on the endpoint: what ``finish.retire`` did not do is done here."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipway.endpoints.resource import describe
from slipway.endpoints.restore import ensure_solo_config, restore_config
from slipway.endpoints.scaling import ensure_scaling, remove_scaling
from slipway.endpoints.settle import settled
from slipway.errors import LeaseHeldError, ResourceConflictError, SlipwayError
from slipway.housekeeping.retirement import RETIRER, find_retirement, is_overdue
from slipway.state import Recorded, VariantShare
from slipway_airflow.operators.housekeeping import HousekeepingOperator
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS

if TYPE_CHECKING:
    from slipway.housekeeping.retirement import Retirement
    from slipway.spec import ServiceSpec
    from slipway.state import EndpointState, Serving
    from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
    from slipway_airflow.task_run import TaskRun


class OldChampionOperator(HousekeepingOperator):
    """Serve a champion alone and let it scale, an hour after its promotion should have done so.

    The last task of a promotion, or of a rollback, may fail for good, or its run may be ended in the warm time. The
    champion then serves beside the old one, whose instances are paid for. Only what a promotion left is touched: all
    traffic is on the champion's variant, on the config that the state names.

    Takes what :class:`HousekeepingOperator` takes.
    """

    def tidy(self, run: TaskRun) -> None:
        """Look at the production endpoint of every service with a valid spec."""
        for spec in self.specs.values():
            try:
                self._look(run, spec)
            except SlipwayError as error:
                self.log.error("%s: %s", spec.name, error)
                self._failed.append(f"look at {spec.endpoint_name('prod')}: {error}")

    def _look(self, run: TaskRun, spec: ServiceSpec) -> None:
        endpoint, states = spec.endpoint_name("prod"), self.bucket.states
        state, _ = states.read(endpoint)
        champion = self._overdue(spec, state)
        if state is None or champion is None:
            return
        sagemaker = self._hook(spec).client("sagemaker")
        begun = state.lease is not None and state.lease.holder == RETIRER  # by a try that was killed
        found = settled(sagemaker, endpoint, time.sleep) if begun else describe(sagemaker, "endpoint", endpoint)
        left = find_retirement(champion, found)
        if left is not None:
            others = f"take {', '.join(left.leaving)} off {endpoint}" if left.leaving else f"let {endpoint} scale"
            self.act(f"{others}: left by {champion.run_id}", lambda: self._finish(run, spec))
        elif begun and not self.only_say:
            states.release_lease(endpoint, RETIRER)

    def _overdue(self, spec: ServiceSpec, state: EndpointState | None) -> Serving | None:
        """Return the champion, if it should have had the endpoint for itself by now."""
        if state is None or not is_overdue(state, spec.promote.keep_warm_minutes, datetime.now(UTC)):
            return None
        return state.champion

    def _finish(self, run: TaskRun, spec: ServiceSpec) -> bool:
        """Take the lease, look again, finish. A lease that stays is that of a try that was killed.

        :return: Whether there was anything left to do.
        """
        endpoint, states = spec.endpoint_name("prod"), self.bucket.states
        try:
            states.take_lease(endpoint, RETIRER, purpose="serve the champion alone", seconds=LEASE_SECONDS)
        except LeaseHeldError as error:
            self.log.info("%s", error)
            return False
        try:
            champion = self._overdue(spec, states.read(endpoint)[0])
            found = settled(self._hook(spec).client("sagemaker"), endpoint, time.sleep)
            left = find_retirement(champion, found) if champion else None
            if champion and left:
                self._retire(run, spec, champion, left)
        except SlipwayError:
            states.release_lease(endpoint, RETIRER)
            raise
        states.release_lease(endpoint, RETIRER)
        return left is not None

    def _retire(self, run: TaskRun, spec: ServiceSpec, champion: Serving, left: Retirement) -> None:
        endpoint, hook = spec.endpoint_name("prod"), self._hook(spec)
        scaling = hook.client("application-autoscaling")
        for variant in left.leaving:
            remove_scaling(scaling, endpoint, variant)
        if left.leaving:
            self._serve_alone(hook, spec, champion, left)
        config_name = str(settled(hook.client("sagemaker"), endpoint, time.sleep)["EndpointConfigName"])
        self.bucket.note(
            spec.name,
            run,
            "updated",
            f"endpoint {endpoint}",
            config_name=config_name,
            cause=f"left by {champion.run_id}",
            removed=list(left.leaving),
        )
        ensure_scaling(scaling, endpoint, left.variant, spec.stage("prod").instances)
        self.bucket.states.update(endpoint, lambda state: _on_config(state, champion.run_id, config_name))

    def _serve_alone(self, hook: SlipwayAwsHook, spec: ServiceSpec, champion: Serving, left: Retirement) -> None:
        sagemaker = hook.client("sagemaker")
        config = describe(sagemaker, "endpoint config", champion.config_name)
        if config is None:
            raise ResourceConflictError(
                f"{spec.endpoint_name('prod')} serves by endpoint config {champion.config_name}, which was deleted: "
                "the one of the champion alone cannot be made of it. Deploy its model version again."
            )
        alone = ensure_solo_config(sagemaker, spec.name, config, left.variant, left.instances)
        share = VariantShare(weight=1.0, instances=left.instances)
        recorded = Recorded(config_name=alone, variants={left.variant: share})
        restore_config(sagemaker, spec.endpoint_name("prod"), recorded)

    def _hook(self, spec: ServiceSpec) -> SlipwayAwsHook:
        return self.hook_of(self.conn_id_of(spec, "prod"))


def _on_config(state: EndpointState, run_id: str, config_name: str) -> EndpointState:
    if state.champion is None or state.champion.run_id != run_id:
        return state
    return state.model_copy(update={"champion": state.champion.model_copy(update={"config_name": config_name})})
