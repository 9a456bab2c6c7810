"""Idle dev endpoints, and endpoint configs and models that nothing needs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call
from slipway.housekeeping.decisions import busy_services, find_leftovers, is_idle
from slipway.housekeeping.inventory import take_inventory
from slipway.spec import PromoteSpec, StagesSpec
from slipway_airflow.operators.housekeeping import HousekeepingOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.housekeeping.inventory import Resource
    from slipway.state import EndpointState
    from slipway_airflow.task_run import TaskRun

_HOUR_SECONDS = 3600
_MOST_POINTS = 1000  # GetMetricStatistics gives 1,440 at most


class IdleEndpointOperator(HousekeepingOperator):
    """Delete dev endpoints that nobody has changed or asked anything for ``stages.dev.keep_hours``.

    The next deployment makes them anew. Their configs and models become leftovers. A service whose spec is gone counts
    with the default; its dev endpoint goes only on the config that this installation launched, as its state tells:
    another Slipway in the same account has services that are not known here.

    Takes what :class:`HousekeepingOperator` takes.
    """

    def tidy(self, run: TaskRun) -> None:
        """Look at the dev endpoint of every service."""
        states = self.states()
        for conn_id in self.accounts():
            for endpoint in take_inventory(self.hook_of(conn_id).client("sagemaker")).endpoints:
                keep_hours, now = self._keep_hours(endpoint, states), datetime.now(UTC)
                if keep_hours is None:
                    continue
                if is_idle(endpoint, self._invocations(conn_id, endpoint, now, keep_hours), now, keep_hours):
                    what = f"delete {endpoint.name}, idle for {keep_hours:g} hours"
                    self.act(what, lambda e=endpoint, c=conn_id: self._delete(run, e, c))

    def _keep_hours(self, endpoint: Resource, states: Mapping[str, EndpointState]) -> float | None:
        """For how long the endpoint is kept; None when it is not a dev endpoint of this installation."""
        spec = self.specs.get(str(endpoint.service))
        if spec is not None:
            return spec.stages.dev.keep_hours if endpoint.name == spec.endpoint_name("dev") else None
        state = states.get(endpoint.name)
        known = state is not None and state.champion is not None and state.champion.config_name in endpoint.refers_to
        removed = endpoint.name == f"{endpoint.service}-dev" and endpoint.service not in self.protected
        return StagesSpec().dev.keep_hours if known and removed else None

    def _delete(self, run: TaskRun, endpoint: Resource, conn_id: str) -> bool:
        gone = self.remove(run, endpoint, conn_id)
        self.bucket.states.update(endpoint.name, _serves_nothing)
        return gone

    def _invocations(self, conn_id: str, endpoint: Resource, now: datetime, keep_hours: float) -> float:
        """Count the endpoint's requests; CloudWatch has them by variant."""
        cloudwatch = self.hook_of(conn_id).client("cloudwatch")
        with aws_call(f"read the metrics of {endpoint.name}"):
            pages = cloudwatch.get_paginator("list_metrics").paginate(
                Namespace="AWS/SageMaker",
                MetricName="Invocations",
                Dimensions=[{"Name": "EndpointName", "Value": endpoint.name}],
            )
            series: list[Any] = [metric for page in pages for metric in page["Metrics"]]
            answers = [
                cloudwatch.get_metric_statistics(
                    **metric,
                    StartTime=now - timedelta(hours=keep_hours),
                    EndTime=now,
                    Period=_HOUR_SECONDS * math.ceil(keep_hours / _MOST_POINTS),
                    Statistics=["Sum"],
                )
                for metric in series
            ]
        return float(sum(point["Sum"] for answer in answers for point in answer["Datapoints"]))


class LeftoverOperator(HousekeepingOperator):
    """Delete Slipway's endpoint configs and models that no endpoint, no state and no config refers to.

    Among them are champions of before whose ``promote.keep_previous_days`` are over. Only what has Slipway's
    tags is deleted, a day after it was made at the earliest, and nothing of a service in the middle of a
    change or that this installation has neither a spec nor a state of.

    Takes what :class:`HousekeepingOperator` takes.
    """

    def tidy(self, run: TaskRun) -> None:
        """Look at every account."""
        for conn_id in self.accounts():
            inventory = take_inventory(self.hook_of(conn_id).client("sagemaker"))
            # Read after the inventory: what a run recorded meanwhile counts.
            states, now = self.states(), datetime.now(UTC)
            leftovers = find_leftovers(
                inventory,
                states,
                {name: spec.promote.keep_previous_days for name, spec in self.specs.items()},
                default_keep_days=PromoteSpec().keep_previous_days,
                protected={*self.protected, *busy_services(states.values(), now)},
                now=now,
            )
            for leftover in leftovers:
                resource = leftover.resource
                what = f"delete {resource.kind} {resource.name}: {leftover.why}"
                self.act(what, lambda r=resource, c=conn_id: self.remove(run, r, c))


def _serves_nothing(state: EndpointState) -> EndpointState:
    return state.model_copy(update={"champion": None})
