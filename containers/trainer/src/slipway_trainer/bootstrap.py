"""Confidence intervals by the bootstrap (percentile method, Efron and Tibshirani 1993, chapter 13).

Champion and challenger are drawn with the same rows each time, so that the difficulty of the rows cancels in their
difference: the paired interval is much narrower than two intervals beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway_trainer.job import Task
from slipway_trainer.metric import METRICS, Predictions

DRAWS = 300
MAX_ROWS = 20_000


@dataclass(frozen=True)
class Interval:
    """Bounds between which the value lies with the confidence asked for."""

    low: float
    high: float


def intervals(
    task: Task, predictions: Predictions, *, confidence_pct: float = 95.0, seed: int = 0
) -> dict[str, Interval]:
    """The interval of each metric.

    Args:
        task: Kind of prediction; decides which metrics.
        predictions: The held-out rows.
        confidence_pct: Confidence in percent.
        seed: Of the draws: the same rows give the same interval.
    """
    predictions = _by_chance(predictions)
    draws = [_all(task, predictions.take(rows)) for rows in _draws(len(predictions), seed)]
    shrink = _shrink(len(predictions))
    point = _all(task, predictions)
    return {
        name: percentile_interval(np.array([draw[name] for draw in draws]), point[name], confidence_pct, shrink)
        for name in METRICS[task]
    }


def paired_interval(
    task: Task,
    metric: str,
    challenger: Predictions,
    champion: Predictions,
    *,
    confidence_pct: float = 95.0,
    seed: int = 0,
) -> Interval:
    """The interval of "challenger minus champion" in one metric.

    Args:
        task: Kind of prediction.
        metric: Name of the metric.
        challenger: Its answers on the held-out rows.
        champion: Its answers on the same rows, in the same order.
        confidence_pct: Confidence in percent.
        seed: Of the draws.

    Raises:
        ValueError: The two do not have the same truth.
    """
    if not np.array_equal(challenger.truth, champion.truth):
        raise ValueError("champion and challenger were not asked about the same rows")
    compute = METRICS[task][metric]
    point = compute(challenger) - compute(champion)
    found = np.array([compute(challenger.take(d)) - compute(champion.take(d)) for d in _draws(len(champion), seed)])
    return percentile_interval(found, point, confidence_pct, _shrink(len(champion)))


def percentile_interval(
    draws: NDArray[np.float64], point: float, confidence_pct: float, shrink: float = 1.0
) -> Interval:
    """The interval around a value, of what drawing the rows again gave.

    Args:
        draws: The value of each draw.
        point: The value of all rows.
        confidence_pct: Confidence in percent.
        shrink: Factor of the spread, for draws of fewer rows than there are.
    """
    if not np.isfinite(point) or not np.isfinite(draws).any():
        return Interval(float("nan"), float("nan"))
    tail = (100.0 - confidence_pct) / 2.0
    low, high = np.nanpercentile(draws - np.nanmedian(draws), [tail, 100.0 - tail]) * shrink
    return Interval(float(point + low), float(point + high))


def _draws(rows: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """Numbers of rows, in ascending order, which metrics do not care about: see :func:`_by_chance`."""
    random = np.random.default_rng(seed)
    for _ in range(DRAWS):
        yield np.sort(random.integers(0, rows, min(rows, MAX_ROWS)))


def _by_chance(predictions: Predictions) -> Predictions:
    """In the order of the chances of class 1, so that metrics that sort by them find every draw sorted already."""
    if predictions.chances.shape[1] < 2:
        return predictions
    return predictions.take(np.argsort(predictions.chances[:, 1], kind="stable"))


def _shrink(rows: int) -> float:
    """Fewer rows are drawn than there are when there are many (m out of n): the spread shrinks with the root."""
    return float(np.sqrt(min(rows, MAX_ROWS) / rows)) if rows else 1.0


def _all(task: Task, predictions: Predictions) -> dict[str, float]:
    with np.errstate(all="ignore"):
        return {name: metric(predictions) for name, metric in METRICS[task].items()}
