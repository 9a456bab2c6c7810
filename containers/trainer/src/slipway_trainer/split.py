"""The window of rows, and its split in time: the newest part judges, everything older trains."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slipway_trainer.job import Window
from slipway_trainer.problem import BadDataError

_MIN_ROWS = 4
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Bounds:
    """Times that decide where a row belongs (microseconds since 1970, UTC).

    Rows from ``first`` on and before ``cutoff`` train; rows from ``cutoff`` up to ``last`` judge.
    """

    first: int
    cutoff: int
    last: int


class Times(Protocol):
    """The times of all rows, wherever they are; microseconds since 1970, UTC."""

    def extent(self) -> tuple[int, int] | None:
        """Oldest and newest; None without rows."""

    def count(self, first: int, last: int) -> int:
        """Number of rows from ``first`` to ``last``, both included."""

    def quantile(self, first: int, last: int, share: float) -> int:
        """The time of a row in that range that has about ``share`` of the range's rows before it."""


class ArrayTimes:
    """Times in an array of this process."""

    def __init__(self, times: NDArray[np.int64]) -> None:
        self._times = np.sort(times)

    def extent(self) -> tuple[int, int] | None:
        """See :class:`Times`."""
        return (int(self._times[0]), int(self._times[-1])) if len(self._times) else None

    def count(self, first: int, last: int) -> int:
        """See :class:`Times`."""
        return len(self._inside(first, last))

    def quantile(self, first: int, last: int, share: float) -> int:
        """See :class:`Times`."""
        inside = self._inside(first, last)
        return int(inside[min(len(inside) - 1, int(len(inside) * share))])

    def _inside(self, first: int, last: int) -> NDArray[np.int64]:
        begin, end = np.searchsorted(self._times, [first, last + 1])
        return self._times[begin:end]


def find_bounds(times: Times, window: Window, holdout_pct: float) -> Bounds:
    """Choose the window's bounds and the cutoff.

    Rows of one moment stay together, on the judging side: no row that trains is as new as one that judges.

    Args:
        times: When each row happened.
        window: Which rows are used.
        holdout_pct: Share of the window's rows that judges, in percent.

    Raises:
        BadDataError: The window is empty, or one side of the split would be.
    """
    extent = times.extent()
    if extent is None:
        raise BadDataError("there are no rows at all: the objects of the window are empty")
    first, last = _window_bounds(extent, window)
    rows = times.count(first, last)
    if rows < _MIN_ROWS:
        raise BadDataError(
            f"the window {show(first)} to {show(last)} has {rows} rows; there are rows from {show(extent[0])} to "
            f"{show(extent[1])}. A model cannot be trained and judged on that"
        )
    cutoff = times.quantile(first, last, 1.0 - holdout_pct / 100.0)
    if times.count(first, cutoff - 1) == 0:
        raise BadDataError(
            f"the rows of the window cannot be split in time: {holdout_pct:g} % of them and all older ones happened at "
            f"{show(cutoff)}. Is the time column the time of the event?"
        )
    return Bounds(first, cutoff, last)


def guard(training_newest: int, holdout_oldest: int) -> None:
    """Refuse a split in which a row that trains is as new as one that judges.

    Raises:
        BadDataError: It is; the evaluation would be too good to be true.
    """
    if training_newest >= holdout_oldest:
        raise BadDataError(
            f"leakage: the newest training row is of {show(training_newest)}, the oldest held-out row of "
            f"{show(holdout_oldest)}; training rows must be older"
        )


def microseconds(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time; without a zone it is UTC."""
    return int(np.datetime64(_utc(text), "us").astype(np.int64))


def show(time: int) -> str:
    """A time for people."""
    return str(np.datetime64(time, "us").astype("datetime64[s]")).replace("T", " ")


def _window_bounds(extent: tuple[int, int], window: Window) -> tuple[int, int]:
    first, last = extent
    if window.until is not None:
        last = min(last, microseconds(window.until) - 1)
    if window.since is not None:
        first = max(first, microseconds(window.since))
    if window.days is not None:
        first = max(first, last - window.days * _DAY + 1)
    return first, last


def _utc(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).replace(tzinfo=None).isoformat()
