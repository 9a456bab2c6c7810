"""Memory that the main process and all workers share: counters of each worker and the draining flag.

Every worker writes its own row only, from one thread: nothing is locked. ``/metrics`` of any worker adds up the rows.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from typing import Any

from slipway_serving.message import Response

BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STATUSES = (200, 400, 404, 405, 408, 413, 415, 500, 503, 504)
EVENTS = ("refused_queue_full", "timed_out", "bytes_in", "bytes_out")
GAUGES = ("in_flight", "fallbacks", "stuck_threads", "ready", "load_seconds")

_STATUS_AT = {status: index for index, status in enumerate(STATUSES)}
_BUCKET_AT = len(STATUSES)
_SUM_AT = _BUCKET_AT + len(BUCKETS_SECONDS) + 1
_EVENT_AT = {event: _SUM_AT + 1 + index for index, event in enumerate(EVENTS)}
_GAUGE_AT = {gauge: _SUM_AT + 1 + len(EVENTS) + index for index, gauge in enumerate(GAUGES)}
_SLOTS = _SUM_AT + 1 + len(EVENTS) + len(GAUGES)


class Board:
    """The shared memory; make it before forking.

    Parameters
    ----------
    workers
        Number of rows.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        memory = mmap.mmap(-1, 8 * (1 + workers * _SLOTS))
        self._cells: memoryview[float] = memoryview(memory).cast("d")

    @property
    def draining(self) -> bool:
        """Whether the server is about to stop."""
        return self._cells[0] != 0.0

    def start_draining(self) -> None:
        """Tell all workers that the server is about to stop."""
        self._cells[0] = 1.0

    def row(self, worker: int) -> Row:
        """Return the counters of one worker, counted from 0."""
        start = 1 + worker * _SLOTS
        return Row(self._cells[start : start + _SLOTS])

    def largest(self, gauge: str) -> float:
        """Return the largest value that a gauge named in ``GAUGES`` has in any worker."""
        return max(self._cells[1 + _GAUGE_AT[gauge] :: _SLOTS])

    def totals(self) -> list[float]:
        """Return the sum over all workers, slot by slot."""
        rows = (self._cells[1 + w * _SLOTS : 1 + (w + 1) * _SLOTS] for w in range(self._workers))
        return [sum(column) for column in zip(*rows, strict=True)]


class Row:
    """The counters of one worker."""

    def __init__(self, cells: memoryview[float]) -> None:
        self._cells: Any = cells  # the stubs of memoryview know whole numbers only

    def observe(self, status: int, seconds: float) -> None:
        """Count one answer of ``/invocations`` and its duration."""
        cells = self._cells
        cells[_STATUS_AT.get(status, _STATUS_AT[500] if status >= 500 else _STATUS_AT[400])] += 1
        cells[_BUCKET_AT + bisect_left(BUCKETS_SECONDS, seconds)] += 1
        cells[_SUM_AT] += seconds

    def count(self, event: str, amount: float = 1) -> None:
        """Add to the counter of an event named in ``EVENTS``."""
        self._cells[_EVENT_AT[event]] += amount

    def set(self, gauge: str, value: float) -> None:
        """Set a gauge named in ``GAUGES``."""
        self._cells[_GAUGE_AT[gauge]] = value

    def clear_gauges(self) -> None:
        """Forget what a worker of before that is gone had to show."""
        for gauge in GAUGES:
            self.set(gauge, 0.0)


def prometheus(board: Board, engine: str) -> Response:
    """Return all counters in Prometheus's text format, version 0.0.4."""
    totals = board.totals()
    lines = [
        "# HELP slipway_requests_total Answers of /invocations by HTTP status.",
        "# TYPE slipway_requests_total counter",
        *(f'slipway_requests_total{{status="{s}"}} {totals[_STATUS_AT[s]]:.0f}' for s in STATUSES),
        "# HELP slipway_request_seconds Time from a request's arrival to its answer.",
        "# TYPE slipway_request_seconds histogram",
    ]
    seen = 0.0
    for index, bound in enumerate((*BUCKETS_SECONDS, float("inf"))):
        seen += totals[_BUCKET_AT + index]
        le = "+Inf" if bound == float("inf") else f"{bound:g}"
        lines.append(f'slipway_request_seconds_bucket{{le="{le}"}} {seen:.0f}')
    lines += [f"slipway_request_seconds_sum {totals[_SUM_AT]:.6f}", f"slipway_request_seconds_count {seen:.0f}"]
    for event, at in _EVENT_AT.items():
        lines += [f"# TYPE slipway_{event}_total counter", f"slipway_{event}_total {totals[at]:.0f}"]
    for gauge, at in _GAUGE_AT.items():
        lines += [f"# TYPE slipway_{gauge} gauge", f"slipway_{gauge} {totals[at]:g}"]
    lines += ["# TYPE slipway_engine_info gauge", f'slipway_engine_info{{engine="{engine}"}} 1', ""]
    return Response(200, "\n".join(lines).encode(), "text/plain; version=0.0.4; charset=utf-8")
