"""What is written down about invocations, off their threads: CloudWatch metrics and captured data.

Metrics: https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
Captured data: https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from slipway_localaws.cloudwatch.series import Datum, MetricKey, MetricStore, dimensions_of
from slipway_localaws.hosting.plan import EndpointKey
from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.runtime.capture import CapturedCall, write_captures

log = logging.getLogger(__name__)
_FLUSH_SECONDS = 1.0
NAMESPACE = "AWS/SageMaker"


@dataclass(frozen=True, slots=True)
class Measured:
    """One invocation, measured."""

    key: EndpointKey
    variant: str
    status: int
    model_microseconds: float
    overhead_microseconds: float
    at: float
    instances: int


class Recorder:
    """Collects measurements and captures and writes them out once a second.

    Args:
        metrics: where measurements go.
        on_change: called with the name of each service whose state changed.
    """

    def __init__(self, metrics: MetricStore, on_change: Callable[[str], None]) -> None:
        self._metrics = metrics
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
                self._metrics.add(metric_data(measured))
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


def metric_data(measured: list[Measured]) -> list[Datum]:
    """SageMaker's invocation metrics of these calls, by endpoint, variant and second."""
    groups: dict[tuple[EndpointKey, str, int], list[Measured]] = defaultdict(list)
    for each in measured:
        groups[each.key, each.variant, int(each.at)].append(each)
    data = []
    for (key, variant, second), calls in groups.items():
        dimensions = dimensions_of(
            [{"Name": "EndpointName", "Value": key.name}, {"Name": "VariantName", "Value": variant}]
        )
        for name, unit, values in _metrics_of(calls):
            metric = MetricKey(key.account, key.region, NAMESPACE, name, dimensions)
            counted: dict[float, float] = defaultdict(float)
            for value in values:
                counted[value] += 1.0
            data.append(Datum(metric, unit, second, list(counted), list(counted.values())))
    return data


def _metrics_of(calls: list[Measured]) -> list[tuple[str, str, list[float]]]:
    return [
        ("Invocations", "None", [1.0] * len(calls)),
        ("InvocationsPerInstance", "None", [1.0 / max(1, call.instances) for call in calls]),
        ("ModelLatency", "Microseconds", [call.model_microseconds for call in calls]),
        ("OverheadLatency", "Microseconds", [call.overhead_microseconds for call in calls]),
        ("Invocation4XXErrors", "None", [float(400 <= call.status < 500) for call in calls]),
        ("Invocation5XXErrors", "None", [float(call.status >= 500) for call in calls]),
        ("InvocationModelErrors", "None", [float(call.status != 200) for call in calls]),
    ]
