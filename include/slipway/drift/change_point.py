"""When did it begin? A detector of level changes in the history of a statistic.

*The tests.* Exact permutation tests, valid whatever the distribution as long as the values are exchangeable, each at
half the level. For a *lasting* change: the largest standardised difference of the means before and after any cut,
against the same of shuffled values, so that one freak value cannot fire it. For a level that *came and went*: the
largest standardised rank sum of any run of neighbours, against shuffled ranks (circular segmentation: Olshen et al.,
Biostatistics 5(4), 2004). A segment with a change is cut where two medians explain it best and both parts are looked
at again (binary segmentation, Vostrikova 1981).

*Overlapping windows* share rows, so that neighbours are alike without any change. Only windows that do not overlap are
compared (:func:`apart`); the time of a change is therefore an interval: it began after the last window that shows the
old level, and by the end of the first that shows the new one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Chance that a history without any change is said to have one.
ALPHA = 0.01
#: Fewer values cannot reach ``ALPHA`` by shuffling, whatever they are.
MIN_VALUES = 10
#: Older windows are left out: what began a hundred windows ago is the new normal.
MOST_VALUES = 120
_SHUFFLES = 1999
_SHUFFLES_AT_ONCE = 100
_SEED = 2004  # the same history always gives the same answer


@dataclass(frozen=True)
class Point:
    """One value of a history.

    Args:
        since: Begin of the window that it describes.
        until: Its end.
        value: The statistic.
    """

    since: datetime
    until: datetime
    value: float


@dataclass(frozen=True)
class ChangePoint:
    """A lasting change of level.

    Args:
        after: End of the last window that shows the old level.
        by: End of the first window that shows the new level: the change began between the two.
        before_level: Median of the windows since the change before.
        after_level: Median of the windows up to the change after.
        p_value: Of "there is no change here".
    """

    after: datetime
    by: datetime
    before_level: float
    after_level: float
    p_value: float


def find_changes(points: Sequence[Point], *, alpha: float = ALPHA, material: float = 0.0) -> list[ChangePoint]:
    """Find the changes of level in a history.

    Args:
        points: The history, in any order; windows may overlap.
        alpha: Chance of naming a change in a history without one.
        material: Differences of the level up to this do not matter.

    Returns:
        The changes, oldest first.
    """
    chosen = apart(points)[-MOST_VALUES:]
    values = np.array([point.value for point in chosen])
    cuts: dict[int, float] = {}
    _segment(values, 0, len(values), alpha, cuts)
    borders = [0, *sorted(cuts), len(values)]
    levels = [float(np.median(values[a:b])) for a, b in itertools.pairwise(borders) if b > a]
    return [
        ChangePoint(chosen[cut - 1].until, chosen[cut].until, levels[index], levels[index + 1], cuts[cut])
        for index, cut in enumerate(borders[1:-1])
        if abs(levels[index + 1] - levels[index]) > material
    ]


def apart(points: Sequence[Point]) -> list[Point]:
    """Choose windows that do not overlap, the latest first; returned in the order of time."""
    chosen: list[Point] = []
    for point in sorted(points, key=lambda each: (each.until, each.since), reverse=True):
        if math.isfinite(point.value) and (not chosen or point.until <= chosen[-1].since):
            chosen.append(point)
    return chosen[::-1]


def _segment(values: NDArray[np.float64], start: int, end: int, alpha: float, cuts: dict[int, float]) -> None:
    """Cut a segment where it changes, then both parts."""
    part = values[start:end]
    p_value = chance_of_no_change(part)
    if p_value > alpha:
        return
    cut = most_likely_cut(part)
    cuts[start + cut] = p_value
    _segment(values, start, start + cut, alpha, cuts)
    _segment(values, start + cut, end, alpha, cuts)


def chance_of_no_change(values: NDArray[np.float64]) -> float:
    """Return the p-value of "the level of these values, in the order of time, never changes"."""
    size = len(values)
    if size < MIN_VALUES or np.ptp(values) == 0:
        return 1.0
    return min(1.0, 2 * min(_lasting(values), _passing(values)))


def most_likely_cut(values: NDArray[np.float64]) -> int:
    """Return the index of the first value of the new level: where two medians explain the values best.

    Absolute deviations, because freak values move them little.
    """

    def cost(cut: int) -> float:
        return sum(float(np.abs(part - np.median(part)).sum()) for part in (values[:cut], values[cut:]))

    return min(range(1, len(values)), key=cost)


def _lasting(values: NDArray[np.float64]) -> float:
    """P-value of "no cut parts two levels"."""
    rng = np.random.default_rng(_SEED)
    shuffled = rng.permuted(np.tile(values, (_SHUFFLES, 1)), axis=1)
    found = _largest_cut(values[None, :])[0]
    return _share_at_least(np.sort(_largest_cut(shuffled)), found)


def _passing(values: NDArray[np.float64]) -> float:
    """P-value of "no run of neighbours stands out"."""
    return _share_at_least(_runs_by_chance(len(values)), _largest_run(_ranks(values)[None, :])[0])


def _share_at_least(null: NDArray[np.float64], found: float) -> float:
    tolerance = 1e-9 * abs(found)  # sums of the same numbers in another order
    beaten = len(null) - int(np.searchsorted(null, found - tolerance, side="left"))
    return (1 + beaten) / (1 + len(null))


def _largest_cut(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the largest standardised difference of the means on both sides of a cut."""
    size = rows.shape[1]
    before = np.arange(1, size)
    sums = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)[:, :-1]
    found: NDArray[np.float64] = (np.abs(sums) / np.sqrt(before * (size - before))).max(axis=1)
    return found


def _largest_run(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the largest standardised sum over a run of neighbours."""
    size = rows.shape[1]
    sums = np.cumsum(rows - rows.mean(axis=1, keepdims=True), axis=1)
    first, last = np.triu_indices(size, 1)
    scale = np.sqrt((last - first) * (size - last + first)) * rows.std(axis=1, keepdims=True)
    found: NDArray[np.float64] = (np.abs(sums[:, last] - sums[:, first]) / scale).max(axis=1)
    return found


@lru_cache(maxsize=MOST_VALUES)
def _runs_by_chance(size: int) -> NDArray[np.float64]:
    """The largest run of shuffled ranks, sorted: the same for all histories of one length."""
    rng = np.random.default_rng(_SEED)
    ranks = np.arange(1.0, size + 1)
    parts = [
        _largest_run(rng.permuted(np.tile(ranks, (_SHUFFLES_AT_ONCE, 1)), axis=1))
        for _ in range(_SHUFFLES // _SHUFFLES_AT_ONCE)
    ]
    found: NDArray[np.float64] = np.sort(np.concatenate(parts))
    return found


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = ((last - counts + 1 + last) / 2)[inverse]
    return ranks
