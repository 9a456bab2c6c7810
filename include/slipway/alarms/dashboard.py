"""The dashboard of a service, as CloudWatch's JSON.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from slipway.alarms.definition import DRIFT, INSTANCES, INVOCATIONS, PROBE
from slipway.spec import ServiceSpec
from slipway.spec.monitor import MEASURED

_WIDTH, _HEIGHT, _COLUMNS = 8, 6, 3
#: A widget of alarms holds at most so many.
_MOST_ALARMS = 100


def dashboard_name(service: str) -> str:
    """Return the dashboard's name."""
    return f"Slipway-{service}"


def dashboard_body(spec: ServiceSpec, region: str, alarm_arns: Sequence[str]) -> str:
    """Return the dashboard's body; equal services give equal text.

    Charts of the endpoint search by its name, so that they show every release that it ever served.

    Args:
        spec: The service.
        region: AWS region.
        alarm_arns: The service's alarms.
    """
    widgets: list[dict[str, Any]] = []
    if alarm_arns:
        widgets.append(
            {
                "type": "alarm",
                "width": _WIDTH * _COLUMNS,
                "height": 3,
                "x": 0,
                "y": 0,
                "properties": {"title": f"{spec.name}: alarms", "alarms": sorted(alarm_arns)[:_MOST_ALARMS]},
            }
        )
    for number, (title, metrics) in enumerate(_charts(spec)):
        properties = {"title": title, "region": region, "view": "timeSeries", "stacked": False, "metrics": metrics}
        place = {
            "x": _WIDTH * (number % _COLUMNS),
            "y": 3 + _HEIGHT * (number // _COLUMNS),
            "width": _WIDTH,
            "height": _HEIGHT,
        }
        widgets.append({"type": "metric", **place, "properties": properties})
    return json.dumps({"widgets": widgets}, separators=(",", ":"), sort_keys=True)


def _charts(spec: ServiceSpec) -> Iterator[tuple[str, list[Any]]]:
    endpoint = spec.endpoint_name("prod")
    yield "Calls", [_search(INVOCATIONS, endpoint, "Invocations", "Sum")]
    yield (
        "Errors",
        [_search(INVOCATIONS, endpoint, name, "Sum") for name in ("Invocation5XXErrors", "Invocation4XXErrors")],
    )
    yield (
        "Latency, µs",
        [
            _search(INVOCATIONS, endpoint, "ModelLatency", "p99"),
            _search(INVOCATIONS, endpoint, "ModelLatency", "p50"),
            _search(INVOCATIONS, endpoint, "OverheadLatency", "p99"),
        ],
    )
    used = ("CPUUtilization", "MemoryUtilization", "DiskUtilization")
    yield "Instances, %", [_search(INSTANCES, endpoint, name, "Maximum") for name in used]
    yield "Drift: distance of each column", [_by_column(spec.name)]
    own = {"Drifted columns": "DriftedColumns", "Drifted": "Drifted", "No traffic": "NoTraffic"}
    yield "Drift", [[DRIFT, name, "Service", spec.name, {"label": label}] for label, name in own.items()]
    yield "Probe", [[PROBE, name, "Service", spec.name] for name in ("Failed", "LatencyMs")]
    if spec.monitor.labels:
        names = MEASURED[spec.monitor.quality.task]
        quality = [[DRIFT, f"Quality.{name}", "Service", spec.name, {"label": name}] for name in names]
        yield "Quality", [*quality, [DRIFT, "LabelCoverage", "Service", spec.name, {"label": "outcomes known"}]]


def _search(namespace: str, endpoint: str, name: str, statistic: str) -> list[Any]:
    schema = f"{{{namespace},EndpointName,VariantName}}"
    found = f"SEARCH('{schema} EndpointName=\"{endpoint}\" MetricName=\"{name}\"', '{statistic}', 60)"
    return [{"expression": found, "label": f"{name} {statistic} ${{PROP('Dim.VariantName')}}"}]


def _by_column(service: str) -> list[Any]:
    found = f"SEARCH('{{{DRIFT},Column,Service}} Service=\"{service}\" MetricName=\"Effect\"', 'Maximum', 300)"
    return [{"expression": found, "label": "${PROP('Dim.Column')}"}]
