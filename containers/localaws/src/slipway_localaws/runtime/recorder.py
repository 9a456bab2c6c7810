"""What is written down about invocations, off their threads: CloudWatch metrics and captured data.

Metrics: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
Captured data: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from slipway_localaws.hosting.plan import EndpointKey
from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.runtime.capture import CapturedCall, write_captures

log = logging.getLogger(__name__)
_FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One invocation, measured."""

    key: EndpointKey
    variant: str
    status: int
    model_microseconds: float
    overhead_microseconds: float
    at: float


class Recorder:
    """Collects measurements and captures and writes them out once a second.

    Args:
        on_change: called with the name of each service whose state changed.
    """

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._measured: list[Measured] = []
        self._captured: list[CapturedCall] = []
        self._flushing = threading.Lock()
        threading.Thread(target=self._flush_regularly, name="recorder", daemon=True).start()

    def measure(self, measured: Measured) -> None:
        """Take note of an invocation."""
        self._measured.append(measured)

    def capture(self, captured: CapturedCall) -> None:
        """Take note of what went in and came out."""
        self._captured.append(captured)

    def flush(self) -> None:
        """Write everything collected so far."""
        with self._flushing:
            measured, self._measured = self._measured, []
            captured, self._captured = self._captured, []
            if measured:
                with MOTO_LOCK:
                    _put_metrics(measured)
                self._on_change("cloudwatch")
            if captured:
                with MOTO_LOCK:
                    write_captures(captured)
                self._on_change("s3")

    def _flush_regularly(self) -> None:
        while True:
            time.sleep(_FLUSH_SECONDS)
            try:
                self.flush()
            except Exception:
                log.exception("metrics or captures were lost")


def _put_metrics(measured: list[Measured]) -> None:
    groups: dict[tuple[EndpointKey, str, int], list[Measured]] = defaultdict(list)
    for each in measured:
        groups[each.key, each.variant, int(each.at)].append(each)
    for (key, variant, second), calls in groups.items():
        backend = cloudwatch_backends[key.account][key.region]
        backend.put_metric_data("AWS/SageMaker", _metric_data(key.name, variant, second, calls))


def _metric_data(endpoint: str, variant: str, second: int, calls: list[Measured]) -> list[Mapping[str, Any]]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    at = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)

    def metric(name: str, unit: str, values: list[float]) -> dict[str, Any]:
        return {
            "MetricName": name, "Dimensions": dimensions, "Values": values, "Counts": [1] * len(values),
            "Unit": unit, "Timestamp": at,
        }  # fmt: skip

    return [
        metric("Invocations", "None", [1.0] * len(calls)),
        metric("ModelLatency", "Microseconds", [call.model_microseconds for call in calls]),
        metric("OverheadLatency", "Microseconds", [call.overhead_microseconds for call in calls]),
        metric("Invocation4XXErrors", "None", [float(400 <= call.status < 500) for call in calls]),
        metric("Invocation5XXErrors", "None", [float(call.status >= 500) for call in calls]),
        metric("InvocationModelErrors", "None", [float(call.status != 200) for call in calls]),
    ]
