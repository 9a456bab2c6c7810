"""Confidence intervals of the metrics: what a number is worth with so many rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

#: Values that a mean needs before its error is taken for normal: the usual rule of thumb (Hogg, Tanis & Zimmerman,
#: "Probability and Statistical Inference", 9th ed. 2015, section 5.7).
MIN_MEAN_ROWS = 30
#: Rows of each class that the area under the ROC curve needs: normal intervals of smaller samples miss the truth far
#: more often than they say (Obuchowski & Lieber, Academic Radiology 5(8), 1998).
MIN_CLASS_ROWS = 10
#: Of the mean square: a variance below it is the rounding of sums.
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A metric with what is known of its error.

    Args:
        value: The metric.
        rows: Rows that it rests on.
        at: Its interval for a normal quantile.
    """

    value: float
    rows: int
    at: Callable[[float], tuple[float, float]]

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the two-sided interval that misses the truth with chance ``alpha``."""
        return self.at(NormalDist().inv_cdf(1 - alpha / 2))


def proportion(hits: float, rows: int) -> Estimate:
    """A share of rows, with Wilson's score interval (J. Am. Stat. Assoc. 22, 1927)."""
    share = hits / rows

    def wilson(z: float) -> tuple[float, float]:
        centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
        reach = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
        return max(0.0, centre - reach), min(1.0, centre + reach)

    return Estimate(share, rows, wilson)


def mean(total: float, squares: float, rows: int, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """A mean, by the central limit theorem, from the sum of the values and of their squares.

    Of fewer than :data:`MIN_MEAN_ROWS` values the theorem says nothing. Where all values are equal they have no spread
    to tell the error from. Then only this is known: a value that none of so many rows had is had by less than the share
    ``1 - chance ** (1 / rows)`` of all (Clopper & Pearson, Biometrika 26, 1934), and lies between ``low`` and ``high``.

    Args:
        total: Sum of the values.
        squares: Sum of their squares.
        rows: How many there are.
        low: No value is below it.
        high: No value is above it.
    """
    value, square = total / rows, squares / rows
    variance = max(0.0, square - value * value)
    if rows < MIN_MEAN_ROWS:
        return Estimate(value, rows, lambda _: (low, high))
    if variance <= _NO_SPREAD * square:
        return Estimate(value, rows, lambda z: _without_spread(value, _unseen_share(z, rows), low, high))
    return normal(value, math.sqrt(variance / (rows - 1)), rows, low, high)


def area(value: float, error: float, positives: int, negatives: int) -> Estimate:
    """An area under the ROC curve, whose error is normal only where both classes have some rows.

    Of fewer than :data:`MIN_CLASS_ROWS` of a class nothing is known. Where one class ranks alike against the other
    (as when it is set apart without a fault) the error cannot be estimated from the ranks; then the largest stands for
    it that the area allows, ``area (1 - area) / min(positives, negatives)`` (Birnbaum & Klose, Ann. Math. Stat. 28,
    1957), in Wilson's interval.

    Args:
        value: The area, 0 to 1.
        error: Its standard error; 0 where it cannot be estimated.
        positives: Rows of class 1.
        negatives: Rows of class 0.
    """
    rows, fewer = positives + negatives, min(positives, negatives)
    if fewer < MIN_CLASS_ROWS:
        return Estimate(value, rows, lambda _: (0.0, 1.0))
    if error <= 0:
        return Estimate(value, rows, proportion(value * fewer, fewer).at)
    return normal(value, error, rows, 0.0, 1.0)


def normal(value: float, error: float, rows: int, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """An estimate whose error is normal with the standard error ``error``, cut off at ``low`` and ``high``."""
    return Estimate(value, rows, lambda z: (max(low, value - z * error), min(high, value + z * error)))


def root(square: Estimate) -> Estimate:
    """The square root of an estimate that is not negative."""

    def at(z: float) -> tuple[float, float]:
        low, high = square.at(z)
        return math.sqrt(max(0.0, low)), math.sqrt(max(0.0, high))

    return Estimate(math.sqrt(square.value), square.rows, at)


def _unseen_share(z: float, rows: int) -> float:
    return float(1 - (1 - NormalDist().cdf(z)) ** (1 / rows))


def _without_spread(value: float, unseen: float, low: float, high: float) -> tuple[float, float]:
    """Bounds of a mean when a share of the rows may lie anywhere."""
    return value - unseen * (value - low), value + unseen * (high - value)
