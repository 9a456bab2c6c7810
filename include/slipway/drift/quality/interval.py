"""Confidence intervals of the metrics: what a number is worth with so many rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist


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


def mean(total: float, squares: float, rows: int) -> Estimate:
    """A mean, by the central limit theorem, from the sum of the values and of their squares."""
    value = total / rows
    error = math.sqrt(max(0.0, squares / rows - value * value) / max(rows - 1, 1))
    return normal(value, error, rows)


def normal(value: float, error: float, rows: int, low: float = -math.inf, high: float = math.inf) -> Estimate:
    """An estimate whose error is normal with the standard error ``error``, cut off at ``low`` and ``high``."""
    return Estimate(value, rows, lambda z: (max(low, value - z * error), min(high, value + z * error)))


def root(square: Estimate) -> Estimate:
    """The square root of an estimate that is not negative."""

    def at(z: float) -> tuple[float, float]:
        low, high = square.at(z)
        return math.sqrt(max(0.0, low)), math.sqrt(max(0.0, high))

    return Estimate(math.sqrt(square.value), square.rows, at)
