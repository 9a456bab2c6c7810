"""Take a service's alarms and dashboard away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.alarms.apply import alarms_there, is_ours, read_dashboard
from slipway.alarms.dashboard import dashboard_name
from slipway.aws_errors import aws_call

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

#: What DescribeAlarms answers and PutMetricAlarm does not take.
_NOT_REQUESTED = frozenset({
    "AlarmArn", "AlarmConfigurationUpdatedTimestamp", "EvaluationState", "StateReason", "StateReasonData",
    "StateTransitionedTimestamp", "StateUpdatedTimestamp", "StateValue",
})  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A service's alarms and dashboard.

    Args:
        alarms: a PutMetricAlarm request for each alarm.
        dashboard: the dashboard's body, or None.
    """

    alarms: tuple[dict[str, Any], ...]
    dashboard: Any

    @property
    def names(self) -> list[str]:
        """Names of the alarms."""
        return [str(each["AlarmName"]) for each in self.alarms]

    @property
    def restore(self) -> dict[str, Any]:
        """What would bring all of it back."""
        return {"alarms": list(self.alarms), "dashboard": self.dashboard}


def find_alarms(cloudwatch: CloudWatchClient, service: str) -> Found:
    """Find the alarms and the dashboard of a service; those of services whose names begin the same are not its.

    Args:
        cloudwatch: A boto3 CloudWatch client.
        service: The service's name.

    Raises:
        SlipwayError: CloudWatch does not answer or refuses.
    """
    with aws_call(f"read the alarms of {service}"):
        there = alarms_there(cloudwatch, service)
        dashboard = read_dashboard(cloudwatch, dashboard_name(service))
    ours = [each for name, each in sorted(there.items()) if is_ours(name, service)]
    requests = [{key: value for key, value in each.items() if key not in _NOT_REQUESTED} for each in ours]
    return Found(tuple(requests), dashboard)


def delete_alarms(cloudwatch: CloudWatchClient, service: str, found: Found) -> None:
    """Delete what was found.

    Args:
        cloudwatch: A boto3 CloudWatch client.
        service: The service's name.
        found: Its alarms and dashboard.

    Raises:
        SlipwayError: CloudWatch does not answer or refuses.
    """
    with aws_call(f"delete the alarms of {service}"):
        if found.alarms:
            cloudwatch.delete_alarms(AlarmNames=found.names)
        if found.dashboard is not None:
            cloudwatch.delete_dashboards(DashboardNames=[dashboard_name(service)])
