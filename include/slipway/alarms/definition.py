"""Which alarms a service has.

Metrics of endpoints: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slipway.spec import ServiceSpec

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
DRIFT = "Slipway/Drift"
PROBE = "Slipway/Probe"
_MICROSECONDS = 1000.0
_RESOURCES = {
    "cpu": ("CPUUtilization", "The processors are busy: raise instances.max or choose a larger instance type."),
    "memory": ("MemoryUtilization", "Memory runs full: choose a larger instance type, or fewer workers."),
    "disk": ("DiskUtilization", "The disk runs full: look at what the container writes."),
}


@dataclass(frozen=True)
class Alarm:
    """One CloudWatch alarm.

    Args:
        name: ``slipway-<service>-<what>``.
        settings: Parameters of ``PutMetricAlarm`` besides name and actions.
    """

    name: str
    settings: Mapping[str, Any]


def prefix_of(service: str) -> str:
    """Return how the names of a service's alarms begin."""
    return f"slipway-{service}-"


def alarms_of(spec: ServiceSpec, variant: str) -> list[Alarm]:
    """Return the alarms of a service.

    Args:
        spec: The service.
        variant: The variant that has its traffic.
    """
    if not spec.monitor.alarms.enabled:
        return []
    found = [*_endpoint(spec, variant), *_monitor(spec)]
    return [Alarm(f"{prefix_of(spec.name)}{what}", settings) for what, settings in found]


def _endpoint(spec: ServiceSpec, variant: str) -> Iterator[tuple[str, dict[str, Any]]]:
    limits = spec.monitor.alarms
    dimensions = _dimensions(EndpointName=spec.endpoint_name("prod"), VariantName=variant)

    def metric(name: str) -> dict[str, Any]:
        return {
            "Metric": {"Namespace": INVOCATIONS, "MetricName": name, "Dimensions": dimensions},
            "Period": 300,
            "Stat": "Sum",
        }

    yield (
        "errors",
        {
            "AlarmDescription": f"More than {limits.error_pct:g} % of the calls fail on the server's side. "
            f"slipway rollback {spec.name} goes back to the previous release.",
            "Metrics": [
                {"Id": "failed", "MetricStat": metric("Invocation5XXErrors"), "ReturnData": False},
                {"Id": "calls", "MetricStat": metric("Invocations"), "ReturnData": False},
                {"Id": "share", "Expression": "100 * failed / calls", "Label": "failed, %", "ReturnData": True},
            ],
            **_rule(limits.error_pct, periods=3, datapoints=2),
        },
    )
    if spec.promote.latency_slo_ms is not None:
        limit = spec.promote.latency_slo_ms
        yield (
            "latency",
            {
                "AlarmDescription": f"One call in a hundred takes the model longer than {limit:g} ms.",
                "Namespace": INVOCATIONS,
                "MetricName": "ModelLatency",
                "Dimensions": dimensions,
                "Period": 300,
                "ExtendedStatistic": "p99",
                **_rule(limit * _MICROSECONDS, periods=3, datapoints=3),
            },
        )
    for what, (name, meaning) in _RESOURCES.items():
        yield (
            what,
            {
                "AlarmDescription": meaning,
                "Namespace": INSTANCES,
                "MetricName": name,
                "Dimensions": dimensions,
                "Period": 300,
                "Statistic": "Maximum",
                **_rule(limits.utilization_pct, periods=3, datapoints=3),
            },
        )


def _monitor(spec: ServiceSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "drift", _flag(spec, DRIFT, "Drifted", "What it receives is not what the model was trained on.")
    yield "no-traffic", _flag(spec, DRIFT, "NoTraffic", "Nobody has called it for a whole window of the monitor.")
    yield "unreadable", _flag(spec, DRIFT, "Unreadable", "It receives calls that are not the model's.")
    yield "probe", _flag(spec, PROBE, "Failed", "The golden rows are not answered, or not as the model answers them.")
    if spec.monitor.labels:
        yield "quality", _flag(spec, DRIFT, "QualityDegraded", "Answers are worse than monitor.quality.expect allows.")


def _flag(spec: ServiceSpec, namespace: str, name: str, meaning: str) -> dict[str, Any]:
    """An alarm on a metric that is 1 when something is wrong; between two looks the state stays."""
    return {
        "AlarmDescription": f"{spec.name}: {meaning}",
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": _dimensions(Service=spec.name),
        "Period": 60,
        "Statistic": "Maximum",
        **_rule(0.5, periods=1, datapoints=1),
        "TreatMissingData": "ignore",
    }


def _rule(threshold: float, *, periods: int, datapoints: int) -> dict[str, Any]:
    return {
        "Threshold": float(threshold),
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": periods,
        "DatapointsToAlarm": datapoints,
        "TreatMissingData": "notBreaching",
    }


def _dimensions(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]
