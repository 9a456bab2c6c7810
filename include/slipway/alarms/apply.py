"""Make CloudWatch as the spec says; what is so already is left alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slipway.alarms.dashboard import dashboard_body, dashboard_name
from slipway.alarms.definition import Alarm, alarms_of, prefix_of
from slipway.aws_errors import aws_call, error_code
from slipway.spec import ServiceSpec

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

_ABSENT = frozenset({"ResourceNotFound", "DashboardNotFoundError", "ResourceNotFoundException"})


@dataclass(frozen=True)
class Changes:
    """What was changed, by name."""

    put: tuple[str, ...]
    deleted: tuple[str, ...]
    dashboard: bool

    def __bool__(self) -> bool:
        return bool(self.put or self.deleted or self.dashboard)


def apply_alarms(cloudwatch: CloudWatchClient, spec: ServiceSpec, variant: str) -> Changes:
    """Create, change and delete the alarms of a service, and write its dashboard.

    Args:
        cloudwatch: A boto3 CloudWatch client.
        spec: The service.
        variant: The variant that has its traffic.

    Returns:
        What was changed; nothing when all was so already.

    Raises:
        SlipwayError: CloudWatch does not answer or refuses.
    """
    topic = spec.notify.sns_topic_arn
    actions = [topic] if topic else []
    wanted = {alarm.name: alarm for alarm in alarms_of(spec, variant)}
    with aws_call(f"keep the alarms of {spec.name}"):
        there = alarms_there(cloudwatch, spec.name)
        put = [alarm for name, alarm in wanted.items() if not _same(alarm, actions, there.get(name))]
        for alarm in put:
            cloudwatch.put_metric_alarm(AlarmName=alarm.name, AlarmActions=actions, OKActions=actions, **alarm.settings)
        gone = sorted(name for name in there if name not in wanted and is_ours(name, spec.name))
        if gone:
            cloudwatch.delete_alarms(AlarmNames=gone)
        arns = _arns(cloudwatch, sorted(wanted))
        written = _write_dashboard(cloudwatch, spec, arns)
    return Changes(tuple(alarm.name for alarm in put), tuple(gone), written)


def alarms_there(cloudwatch: CloudWatchClient, service: str) -> dict[str, Any]:
    """Return the alarms whose names begin as the service's do, by name; `is_ours` tells which are its own."""
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix_of(service))
    return {each["AlarmName"]: each for page in pages for each in page["MetricAlarms"]}


def _arns(cloudwatch: CloudWatchClient, names: list[str]) -> list[str]:
    if not names:  # no names would mean all alarms of the account
        return []
    return [each["AlarmArn"] for each in cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]]


def _write_dashboard(cloudwatch: CloudWatchClient, spec: ServiceSpec, arns: Sequence[str]) -> bool:
    name = dashboard_name(spec.name)
    body = dashboard_body(spec, cloudwatch.meta.region_name, arns)
    if read_dashboard(cloudwatch, name) == json.loads(body):
        return False
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=body)
    return True


def read_dashboard(cloudwatch: CloudWatchClient, name: str) -> Any:
    """Return the body of a dashboard, or None when there is none of that name."""
    try:
        return json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    except ClientError as error:
        if error_code(error) not in _ABSENT:
            raise
        return None


def _same(alarm: Alarm, actions: list[str], found: Mapping[str, Any] | None) -> bool:
    if found is None or found.get("AlarmActions", []) != actions or found.get("OKActions", []) != actions:
        return False
    return all(_plain(found.get(name)) == _plain(value) for name, value in alarm.settings.items())


def _plain(value: Any) -> Any:
    """Lists of dimensions and metrics in one order; what AWS adds empty is left out."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in sorted(value.items()) if each not in (None, [], "")}
    if isinstance(value, list | tuple):
        return sorted((_plain(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


def is_ours(name: str, service: str) -> bool:
    """Whether an alarm is this service's and not one of ``<service>-…``, whose names begin the same."""
    rest = name.removeprefix(prefix_of(service))
    return rest in {
        *("errors", "latency", "cpu", "memory", "disk"),
        *("drift", "no-traffic", "unreadable", "probe", "quality"),
    }
