"""Canaries whose run, DAG or spec is gone: roll them back from the state alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from slipway.canary.alarm import remove_alarm
from slipway.endpoints.resource import describe
from slipway.endpoints.scaling import ensure_scaling
from slipway.endpoints.way_back import take_back
from slipway.errors import EndpointMissingError
from slipway.housekeeping.decisions import HOLDER, is_lost
from slipway.transition import give_up
from slipway_airflow.operators.housekeeping import HousekeepingOperator
from slipway_airflow.operators.promotion_begin import LEASE_SECONDS

if TYPE_CHECKING:
    from slipway.state import EndpointState, Promotion
    from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
    from slipway_airflow.task_run import TaskRun


class LostCanaryOperator(HousekeepingOperator):
    """Roll back each promotion whose lease ran out: nobody looks at it any more.

    Every task of a promotion and every look of its judge prolongs the lease, so one that ran out belongs
    to a run that was deleted, whose DAG or spec was removed, or that is paused. A first launch has nothing
    to go back to: its promotion ends, so that another may begin, and its endpoint stays as it is. Production
    endpoints are deleted by people; it may serve somebody, and the state does not say in which account it is.
    A promotion whose endpoint is in an account that cannot be told or reached stays, and the task fails.

    Takes what :class:`HousekeepingOperator` takes.
    """

    def tidy(self, run: TaskRun) -> None:
        """Find the lost ones, roll each back."""
        for endpoint, state in self.states().items():
            promotion = state.promotion
            if promotion is None or not is_lost(state, datetime.now(UTC)):
                continue
            if promotion.recorded is None:
                what = (
                    f"end the first launch of release {promotion.release_id} of {endpoint}, lost by {promotion.run_id}"
                )
                self.act(what, lambda state=state, promotion=promotion: self._end_launch(run, state, promotion))
                continue
            what = f"roll back release {promotion.release_id} of {endpoint}, lost by {promotion.run_id}"
            self.act(what, lambda state=state, promotion=promotion: self._roll_back(run, state, promotion))

    def _end_launch(self, run: TaskRun, state: EndpointState, promotion: Promotion) -> None:
        endpoint, release_id = state.endpoint, promotion.release_id
        service = endpoint.rpartition("-")[0]
        reason = f"lost: the lease of {promotion.run_id} ran out; there was no champion to go back to"
        self.bucket.states.take_lease(
            endpoint, HOLDER, purpose=f"end the lost launch of release {release_id}", seconds=LEASE_SECONDS
        )
        self.bucket.note(service, run, "given_up", f"release {release_id}", endpoint=endpoint, cause=reason)
        self._end(run, endpoint, promotion, reason)
        self.log.warning(
            "%s: the first launch of release %s is given up (%s). Whatever it made of the endpoint was left as it is. "
            "`slipway undeploy %s --stage prod --delete` takes that away; then deploy again.",
            endpoint, release_id, reason, service,
        )  # fmt: skip

    def _roll_back(self, run: TaskRun, state: EndpointState, promotion: Promotion) -> None:
        endpoint = state.endpoint
        service = endpoint.rpartition("-")[0]
        hook = self._hook_to(endpoint, promotion)
        reason = f"lost: the lease of {promotion.run_id} ran out"
        self.bucket.states.take_lease(
            endpoint, HOLDER, purpose=f"roll back lost release {promotion.release_id}", seconds=LEASE_SECONDS
        )
        assert promotion.recorded is not None
        restored: str | None = promotion.recorded.config_name
        back_at: datetime | None = None
        sagemaker, scaling = hook.client("sagemaker"), hook.client("application-autoscaling")
        try:
            back_at = take_back(sagemaker, scaling, endpoint, promotion, promotion.recorded)
            if spec := self.spec_of(endpoint):
                for variant in promotion.recorded.variants:
                    ensure_scaling(scaling, endpoint, variant, spec.stage("prod").instances)
        except EndpointMissingError as error:
            # Nothing can be put back; the promotion ends all the same, so that another may launch the endpoint anew.
            restored, reason = None, f"{reason}; {error}"
        remove_alarm(hook.client("cloudwatch"), promotion.alarm)
        self.bucket.note(
            service,
            run,
            "rolled_back",
            f"release {promotion.release_id}",
            endpoint=endpoint,
            cause=reason,
            restored_config=restored,
            traffic_back_at=back_at.isoformat() if back_at else None,
        )
        self._end(run, endpoint, promotion, reason)

    def _end(self, run: TaskRun, endpoint: str, promotion: Promotion, reason: str) -> None:
        """End the promotion in the state, and give the lease back."""
        now = datetime.now(UTC)
        self.bucket.states.update(
            endpoint,
            lambda found: give_up(found, run_id=promotion.run_id, at=now, by=run.user, reason=reason),
            holder=HOLDER,
        )
        self.bucket.states.release_lease(endpoint, HOLDER)

    def _hook_to(self, endpoint: str, promotion: Promotion) -> SlipwayAwsHook:
        """Return the hook of the account that holds the endpoint.

        Where the wrong account is asked, an endpoint that serves looks like one that is gone.

        :raises EndpointMissingError: it is not known where the endpoint is.
        """
        place, spec = promotion.place, self.spec_of(endpoint)
        if place is None:
            return self._guessed(endpoint, promotion) if spec is None else self.hook_of(self.conn_id_of(spec, "prod"))
        hook = self.hook_of(place.aws_conn_id, place.region_name)
        account = hook.account_id
        if account != place.account_id:
            raise EndpointMissingError(
                f"{endpoint} is in account {place.account_id}, and the connection {place.aws_conn_id} leads to "
                f"{account}. Its traffic is as the lost run left it. Correct the connection in Airflow, then clear "
                "this task."
            )
        return hook

    def _guessed(self, endpoint: str, promotion: Promotion) -> SlipwayAwsHook:
        """Take the platform's connection when it leads to an endpoint that has been on the recorded config."""
        hook = self.hook_of(self.platform.aws_conn_id)
        sagemaker, recorded = hook.client("sagemaker"), promotion.recorded
        known = describe(sagemaker, "endpoint", endpoint) is not None
        if known and recorded and describe(sagemaker, "endpoint config", recorded.config_name) is not None:
            return hook
        raise EndpointMissingError(
            f"{endpoint} has no valid spec, its state does not say in which account it is, and it is not in that of "
            f"{self.platform.aws_conn_id}. Its traffic is as the lost run left it. Put a valid spec of the service "
            "back, with its stages.prod.aws_conn_id, then clear this task."
        )
