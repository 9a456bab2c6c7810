"""Histograms for the eye: the quantile bins of a profile drawn again over bins of equal width."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.drift.bins import Bins, NumericBins
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile
from slipway.drift.statistics.counts import redrawn, shares

_BARS = 40
_CATEGORIES = 25
_MOVED = 6
_SHOWN_POINTS = 0.1
OTHERS = "(others)"
NEW = "(not in the baseline)"


def draw_column(before: ColumnProfile, after: ColumnProfile | None, bins: Bins) -> dict[str, Any]:
    """Return what a chart needs: positions or labels, and the shares of baseline and window there, in percent."""
    if isinstance(before, NumericProfile) and isinstance(bins, NumericBins):
        return _numeric(before, after if isinstance(after, NumericProfile) else None, bins)
    if isinstance(before, CategoryProfile) and not isinstance(bins, NumericBins):
        return _categories(before, after if isinstance(after, CategoryProfile) else None, bins.known)
    return {}


def moved_most(chart: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the categories whose share changed most, with the change in percentage points; none for numbers."""
    if chart.get("kind") != "categorical":
        return []
    moves = zip(chart["x"], chart["baseline"], chart["window"], strict=True)
    ranked = sorted(((label, after - before) for label, before, after in moves), key=lambda move: -abs(move[1]))
    return [(label, points) for label, points in ranked[:_MOVED] if abs(points) >= _SHOWN_POINTS]


def _numeric(before: NumericProfile, after: NumericProfile | None, bins: NumericBins) -> dict[str, Any]:
    edges = np.asarray(bins.edges)
    if len(edges) < 2 or before.moments.minimum == before.moments.maximum:
        return {}
    middles, baseline = _bars(before, edges)
    window = _bars(after, edges)[1] if after is not None else []
    low, high = _outside(after)
    return {
        "kind": "numeric",
        "x": middles,
        "baseline": baseline,
        "window": window,
        "below": low,
        "above": high,
    }


def _bars(column: NumericProfile, edges: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """The middle of each bar and the percent in it."""
    borders, below = redrawn(edges, np.cumsum(shares(column.counts))[:-1], edges[0], edges[-1], _BARS)
    return (borders[:-1] / 2 + borders[1:] / 2).tolist(), (100 * np.diff(below)).tolist()


def _outside(column: NumericProfile | None) -> tuple[float, float]:
    if column is None or not column.counts.sum():
        return 0.0, 0.0
    found = 100 * shares(column.counts)
    return float(found[0]), float(found[-1])


def _categories(before: CategoryProfile, after: CategoryProfile | None, known: tuple[str, ...]) -> dict[str, Any]:
    left = 100 * shares(np.append(before.counts, before.new_rows))
    right = 100 * shares(np.append(after.counts, after.new_rows)) if after is not None else np.zeros(len(left))
    labels = [*known, NEW]
    ranked = sorted(range(len(labels)), key=lambda index: -max(left[index], right[index]))
    moved = sorted(range(len(labels)), key=lambda index: -abs(left[index] - right[index]))
    shown = list(dict.fromkeys([*moved[:5], *ranked]))[:_CATEGORIES]
    shown.sort(key=lambda index: -left[index])
    rest = [index for index in range(len(labels)) if index not in set(shown)]
    result: dict[str, Any] = {
        "kind": "categorical",
        "x": [labels[index] for index in shown],
        "baseline": [float(left[index]) for index in shown],
        "window": [float(right[index]) for index in shown],
        "new": sorted(after.new)[:20] if after is not None else [],
    }
    if rest:
        result["x"].append(OTHERS)
        result["baseline"].append(float(left[rest].sum()))
        result["window"].append(float(right[rest].sum()))
    return result
