"""The rows of a Spark frame in time: how many, from when, and what is on each side of the split.

Every question goes through all rows, so each is asked once, and nothing but single numbers comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from slipway_trainer.problem import BadDataError
from slipway_trainer.split import Bounds

#: Column of the time, in microseconds since 1970.
TIME = "__slipway_time"
_QUANTILE_ACCURACY = 10_000


class FrameTimes:
    """Times of a Spark frame, see :class:`slipway_trainer.split.Times`; a range that is all there is costs nothing.

    Args:
        frame: The rows; they are gone through once here, and as seldom as can be later.
    """

    def __init__(self, frame: DataFrame) -> None:
        self._frame = frame
        found = frame.agg(fn.count("*"), fn.count(TIME), fn.min(TIME), fn.max(TIME)).first() or (0, 0, None, None)
        self.rows, self._timed, self._oldest, self._newest = found

    @property
    def missing(self) -> int:
        """Rows without a time."""
        return int(self.rows - self._timed)

    def extent(self) -> tuple[int, int] | None:
        """Oldest and newest."""
        return (int(self._oldest), int(self._newest)) if self._timed else None

    def count(self, first: int, last: int) -> int:
        """Rows of a range."""
        if (first, last) == self.extent():
            return int(self._timed)
        return self._frame.where(fn.col(TIME).between(first, last)).count()

    def quantile(self, first: int, last: int, share: float) -> int:
        """About the time of a share of the rows (Spark's approximate percentile, within 1/10,000)."""
        inside = self._frame.where(fn.col(TIME).between(first, last))
        row = inside.agg(fn.percentile_approx(TIME, share, _QUANTILE_ACCURACY)).first()
        return int(row[0]) if row else last


@dataclass(frozen=True)
class Side:
    """What is to be known of the rows that train, or of those that judge.

    Args:
        rows: How many.
        oldest: Time of the first, in microseconds since 1970.
        newest: Time of the last.
        without_target: Rows whose target is null or no number.
    """

    rows: int
    oldest: int
    newest: int
    without_target: int


def sides(inside: DataFrame, bounds: Bounds, target: str) -> tuple[Side, Side]:
    """The side that trains and the one that judges, in one pass.

    Args:
        inside: The rows of the window.
        bounds: Where it is split.
        target: Name of the target's column.

    Raises:
        BadDataError: One side has no rows.
    """
    judges = (fn.col(TIME) >= bounds.cutoff).alias("judges")
    missing = fn.sum(_is_missing(inside, target).cast("long"))
    found = inside.groupBy(judges).agg(fn.count("*"), fn.min(TIME), fn.max(TIME), missing).collect()
    by_side = {row[0]: Side(*map(int, row[1:])) for row in found}
    if len(by_side) < 2:
        raise BadDataError("one side of the split has no rows")
    return by_side[False], by_side[True]


def class_counts(frame: DataFrame, target: str) -> dict[str, int]:
    """Rows by class, of a thousand classes at most."""
    rows = frame.groupBy(target).count().limit(1000).collect()
    return {str(row[0]): int(row[1]) for row in sorted(rows, key=lambda row: str(row[0]))}


def _is_missing(frame: DataFrame, name: str) -> Any:
    column = fn.col(name)
    return column.isNull() | fn.isnan(column) if dict(frame.dtypes)[name] in {"double", "float"} else column.isNull()
