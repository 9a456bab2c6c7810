"""Statistics over the values of one period.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
AWS keeps a compressed distribution and answers percentiles approximately; here every value is kept, and they are exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache

_RANGE = re.compile(r"(TM|TC|TS|WM|PR)\((-?[\d.]*)(%?):(-?[\d.]*)(%?)\)")
_SHORT = re.compile(r"(p|tm|tc|ts|wm)(\d{1,3}(?:\.\d{1,10})?)", re.IGNORECASE)
_EPSILON = 1e-9

Pair = tuple[float, float]


class InvalidStatisticError(ValueError):
    """Not the name of a statistic."""


@dataclass(frozen=True, slots=True)
class StatisticSet:
    """Values of which only a summary was published."""

    count: float
    total: float
    minimum: float
    maximum: float


@dataclass(slots=True)
class Distribution:
    """All values of one period.

    Args:
        pairs: values with how often each occurred.
        sets: summaries that were published instead of values.
    """

    pairs: list[Pair] = field(default_factory=list)
    sets: list[StatisticSet] = field(default_factory=list)

    @property
    def count(self) -> float:
        """How many values there are."""
        return sum(count for _, count in self.pairs) + sum(each.count for each in self.sets)

    @property
    def total(self) -> float:
        """Their sum."""
        return sum(value * count for value, count in self.pairs) + sum(each.total for each in self.sets)

    @property
    def minimum(self) -> float:
        """The smallest."""
        return min([value for value, _ in self.pairs] + [each.minimum for each in self.sets])

    @property
    def maximum(self) -> float:
        """The largest."""
        return max([value for value, _ in self.pairs] + [each.maximum for each in self.sets])

    def ordered(self) -> list[Pair] | None:
        """The values in order; None when a summary of different values hides some of them."""
        pairs = list(self.pairs)
        for each in self.sets:
            if each.count != 1 and each.minimum != each.maximum:
                return None
            pairs.append((each.minimum, each.count))
        return sorted(pairs)


Statistic = Callable[[Distribution], float | None]


@cache
def statistic(name: str) -> Statistic:
    """The statistic of that name.

    Args:
        name: such as ``Sum``, ``p99.9``, ``tm90``, ``TC(100000:)``, ``PR(:300)``, ``TM(10%:90%)`` or ``IQM``.

    Returns:
        A function from the values of a period (at least one) to the statistic; None when it cannot be told.

    Raises:
        InvalidStatisticError: there is none of that name.
    """
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name == "IQM":
        return statistic("TM(25%:75%)")
    if short := _SHORT.fullmatch(name):
        kind, percent = short[1].upper(), float(short[2])
        if percent > 100:
            raise InvalidStatisticError(name)
        return _percentile(percent) if kind == "P" else _trimmed(kind, 0.0, percent, percents=True)
    match = _RANGE.fullmatch(name)
    if match is None or (not match[2] and not match[4]):
        raise InvalidStatisticError(name)
    percents = bool(match[3] or match[5])
    if percents and match[1] == "PR":
        raise InvalidStatisticError(name)
    lower = float(match[2]) if match[2] else (0.0 if percents else -math.inf)
    upper = float(match[4]) if match[4] else (100.0 if percents else math.inf)
    return _trimmed(match[1], lower, upper, percents=percents)


_SIMPLE: dict[str, Statistic] = {
    "SampleCount": lambda values: values.count,
    "Sum": lambda values: values.total,
    "Average": lambda values: values.total / values.count if values.count else None,
    "Minimum": lambda values: values.minimum,
    "Maximum": lambda values: values.maximum,
}


def _percentile(percent: float) -> Statistic:
    def compute(values: Distribution) -> float | None:
        ordered = values.ordered()
        return None if ordered is None else _value_at(ordered, percent / 100)

    return compute


def _value_at(ordered: list[Pair], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed."""
    rank = max(1.0, math.ceil(share * sum(count for _, count in ordered) - _EPSILON))
    seen = 0.0
    for value, count in ordered:
        seen += count
        if seen >= rank:
            return value
    return ordered[-1][0]


def _trimmed(kind: str, lower: float, upper: float, *, percents: bool) -> Statistic:
    def compute(values: Distribution) -> float | None:
        ordered = values.ordered()
        if ordered is None:
            return None
        if kind == "WM":
            return _winsorized(ordered, lower, upper, percents=percents)
        kept = list(_by_rank(ordered, lower / 100, upper / 100) if percents else _by_value(ordered, lower, upper))
        count = sum(each for _, each in kept)
        if kind == "TC":
            return count
        if kind == "PR":
            return 100.0 * count / values.count
        total = sum(value * each for value, each in kept)
        return total if kind == "TS" else (total / count if count else None)

    return compute


def _by_value(ordered: list[Pair], lower: float, upper: float) -> Iterable[Pair]:
    """Absolute bounds: above the lower one, up to and with the upper one."""
    return ((value, count) for value, count in ordered if lower < value <= upper)


def _by_rank(ordered: list[Pair], lower: float, upper: float) -> Iterable[Pair]:
    """Percentages: the values whose place in the order lies between them."""
    total = sum(count for _, count in ordered)
    first, last = math.floor(lower * total + _EPSILON), math.floor(upper * total + _EPSILON)
    seen = 0.0
    for value, count in ordered:
        kept = min(seen + count, last) - max(seen, first)
        seen += count
        if kept > 0:
            yield value, kept


def _winsorized(ordered: list[Pair], lower: float, upper: float, *, percents: bool) -> float:
    """The mean after values beyond the bounds were set to the bounds."""
    if percents:
        lower, upper = _value_at(ordered, lower / 100), _value_at(ordered, upper / 100)
    total = sum(min(max(value, lower), upper) * count for value, count in ordered)
    return total / sum(count for _, count in ordered)
