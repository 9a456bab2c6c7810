"""The values of metric math, and its functions.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html#metric-math-syntax-functions-list
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from slipway_localaws.cloudwatch.time_series import TimeSeries

Value = float | str | TimeSeries | list[TimeSeries]


class MetricMathError(ValueError):
    """An expression that cannot be evaluated; the message is for the caller."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an expression is evaluated in: the ids that it may use, and the window asked for."""

    series: Mapping[str, TimeSeries]
    window: range
    period: int

    def constant(self, number: float) -> TimeSeries:
        """A time series of one value."""
        return TimeSeries({at: number for at in self.window}, self.period)


def combine(function: Callable[[float, float], float], left: Value, right: Value) -> Value:
    """An operator on numbers, time series (point by point, where both have one) and arrays (element by element)."""
    if isinstance(left, str) or isinstance(right, str):
        raise MetricMathError("strings cannot be calculated with")
    if isinstance(left, list):
        return [_as_series(combine(function, each, right)) for each in left]
    if isinstance(right, list):
        return [_as_series(combine(function, left, each)) for each in right]
    if isinstance(left, TimeSeries) and isinstance(right, TimeSeries):
        common = [at for at in left.points if at in right.points]
        return replace(left, points=_safe({at: (left.points[at], right.points[at]) for at in common}, function))
    if isinstance(left, TimeSeries):
        assert isinstance(right, float)
        return replace(left, points=_safe({at: (value, right) for at, value in left.points.items()}, function))
    if isinstance(right, TimeSeries):
        return replace(right, points=_safe({at: (left, value) for at, value in right.points.items()}, function))
    try:
        return float(function(left, right))
    except (ZeroDivisionError, OverflowError, ValueError):
        raise MetricMathError("the constants cannot be calculated with") from None


def _safe(pairs: Mapping[int, tuple[float, float]], function: Callable[[float, float], float]) -> dict[int, float]:
    """Results point by point; where there is none (a division by zero) the point is left out."""
    points = {}
    for at, (left, right) in pairs.items():
        try:
            points[at] = float(function(left, right))
        except (ZeroDivisionError, OverflowError, ValueError):
            continue
    return points


def _as_series(value: Value) -> TimeSeries:
    if not isinstance(value, TimeSeries):
        raise MetricMathError("expected a time series")
    return value


def _aggregate(function: Callable[[Sequence[float]], float]) -> Callable[..., Value]:
    """Over an array: point by point, into a time series; over a time series: into a number."""

    def compute(context: Context, value: Value) -> Value:
        if isinstance(value, TimeSeries):
            return float(function(list(value.points.values()))) if value.points else 0.0
        if isinstance(value, list):
            times = sorted({at for each in value for at in each.points})
            points = {at: float(function([each.points[at] for each in value if at in each.points])) for at in times}
            return TimeSeries(points, value[0].period if value else context.period)
        raise MetricMathError("expected a time series or an array of them")

    return compute


def _map(function: Callable[[float], float]) -> Callable[..., Value]:
    def compute(_: Context, value: Value) -> Value:
        return combine(lambda each, __: function(each), value, 0.0)

    return compute


def _if(context: Context, condition: Value, then: Value, otherwise: Value | None = None) -> Value:
    if isinstance(condition, float):
        return then if condition else (otherwise if otherwise is not None else TimeSeries({}, context.period))
    chosen = {}
    for at, value in _as_series(condition).points.items():
        source = then if value else otherwise
        if isinstance(source, float):
            chosen[at] = source
        elif isinstance(source, TimeSeries) and at in source.points:
            chosen[at] = source.points[at]
    return TimeSeries(chosen, _as_series(condition).period)


def _fill(context: Context, value: Value, filling: Value) -> Value:
    if isinstance(value, list):
        return [_as_series(_fill(context, each, filling)) for each in value]
    series = _as_series(value)
    window = range(context.window.start, context.window.stop, series.period)
    if isinstance(filling, float):
        return replace(series, points={at: series.points.get(at, filling) for at in window})
    if filling == "REPEAT":
        return replace(series, points=_repeat(series.points, window))
    if filling == "LINEAR":
        return replace(series, points=_interpolate(series.points, window))
    raise MetricMathError("FILL takes a number, REPEAT or LINEAR")


def _repeat(points: Mapping[int, float], window: range) -> dict[int, float]:
    filled: dict[int, float] = {}
    last: float | None = None
    for at in window:
        last = points.get(at, last)
        if last is not None:
            filled[at] = last
    return filled


def _interpolate(points: Mapping[int, float], window: range) -> dict[int, float]:
    known = sorted(points)
    filled = {}
    for at in window:
        before = [each for each in known if each <= at]
        after = [each for each in known if each >= at]
        if not before or not after:
            continue
        low, high = before[-1], after[0]
        share = (at - low) / (high - low) if high > low else 0.0
        filled[at] = points[low] + share * (points[high] - points[low])
    return filled


def _diff(_: Context, value: Value) -> Value:
    series = _as_series(value)
    points = {late: series.points[late] - series.points[early] for early, late in pairwise(series.points)}
    return replace(series, points=points)


def _rate(_: Context, value: Value) -> Value:
    series = _as_series(value)
    steps = pairwise(series.points)
    points = {late: (series.points[late] - series.points[early]) / (late - early) for early, late in steps}
    return replace(series, points=points)


def _running_sum(_: Context, value: Value) -> Value:
    series, total, points = _as_series(value), 0.0, {}
    for at, each in series.points.items():
        total += each
        points[at] = total
    return replace(series, points=points)


def _period(_: Context, value: Value) -> Value:
    return float(_as_series(value).period)


def _time_series(context: Context, value: Value) -> Value:
    return context.constant(value) if isinstance(value, float) else value


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "SUM": _aggregate(sum),
    "AVG": _aggregate(statistics.fmean),
    "MIN": _aggregate(min),
    "MAX": _aggregate(max),
    "STDDEV": _aggregate(statistics.pstdev),
    "DATAPOINT_COUNT": _aggregate(len),
    "ABS": _map(abs),
    "CEIL": _map(math.ceil),
    "FLOOR": _map(math.floor),
    "LOG": _map(math.log),
    "LOG10": _map(math.log10),
    "IF": _if,
    "FILL": _fill,
    "DIFF": _diff,
    "RATE": _rate,
    "RUNNING_SUM": _running_sum,
    "PERIOD": _period,
    "TIME_SERIES": _time_series,
}
