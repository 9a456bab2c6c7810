"""Simulated columns for the calibration of drift verdicts: what is drawn, what its baseline is, what changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from slipway.drift.baseline import Baseline, make_baseline
from slipway.drift.bins import Bins, BinSet, CategoryBins, NumericBins
from slipway.drift.effect import category_counts
from slipway.drift.moments import Moments
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile

REFERENCE_ROWS = 20_000
CHUNKS = 40
_TAIL_SPREAD = 5.0
_CATEGORIES = {"a": 0.4, "b": 0.3, "c": 0.15, "d": 0.1, "e": 0.05}
Counts = NDArray[np.int64]
Levels = Callable[[np.random.Generator, int], NDArray[np.float64]]


@dataclass(frozen=True)
class Change:
    """What becomes of a column.

    Args:
        shift: Of the level, in standard deviations.
        scale: Factor of the spread.
        tail: Share of rows that come from a normal distribution five times as wide.
        missing: Share of rows without a value.
        moved: Share of rows that go from the most frequent category to the second.
    """

    shift: float = 0.0
    scale: float = 1.0
    tail: float = 0.0
    missing: float = 0.0
    moved: float = 0.0


NONE = Change()


@dataclass(frozen=True)
class World:
    """A column: its bins, the baseline of its healthy past, and the levels that it healthily has."""

    bins: Bins
    baseline: Baseline
    chunks: tuple[ColumnProfile, ...]
    levels: Levels

    @property
    def before(self) -> ColumnProfile:
        """The baseline's column."""
        return self.baseline.profile.columns["x"]

    def draw(self, rng: np.random.Generator, rows: int, level: float, change: Change = NONE) -> ColumnProfile:
        """Rows of a window."""
        return draw(rng, self.bins, rows, level, change)


def steady(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Independent rows: the level never moves."""
    return np.zeros(count)


def wandering(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """An autoregressive level (0.6 from chunk to chunk) with a standard deviation of 0.3."""
    level = np.empty(count)
    level[0] = rng.normal(0, 0.3)
    for index in range(1, count):
        level[index] = 0.6 * level[index - 1] + rng.normal(0, 0.3 * math.sqrt(1 - 0.36))
    return level


def daily(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Hours of days whose level swings by half a standard deviation, from a random hour on."""
    return 0.5 * np.sin(2 * np.pi * (np.arange(count) + rng.integers(24)) / 24)


def numbers() -> NumericBins:
    """256 bins of a standard normal column."""
    return NumericBins.of(norm.ppf((np.arange(100_000) + 0.5) / 100_000))


def words() -> CategoryBins:
    """Five categories."""
    return CategoryBins(tuple(_CATEGORIES))


def make_world(rng: np.random.Generator, bins: Bins, levels: Levels = steady) -> World:
    """Draw the healthy past, chunk by chunk, and learn the baseline from it."""
    names = BinSet({"x": bins})
    size = REFERENCE_ROWS // CHUNKS
    chunks = tuple(draw(rng, bins, size, level, NONE) for level in levels(rng, CHUNKS))
    baseline = make_baseline(names, [Profile(names.digest, size, {"x": chunk}) for chunk in chunks])
    return World(bins, baseline, chunks, levels)


def draw(rng: np.random.Generator, bins: Bins, rows: int, level: float, change: Change) -> ColumnProfile:
    """Counts of ``rows`` values over the bins, from their true probabilities."""
    missing = int(rng.binomial(rows, change.missing)) if change.missing else 0
    if isinstance(bins, CategoryBins):
        p = np.array(list(_CATEGORIES.values()))
        p[:2] += (-change.moved, change.moved)
        return CategoryProfile(rng.multinomial(rows - missing, p), missing=missing)
    at = np.asarray(bins.edges) - level - change.shift
    cumulative = (1 - change.tail) * norm.cdf(at / change.scale) + change.tail * norm.cdf(at / _TAIL_SPREAD)
    counts = rng.multinomial(rows - missing, np.diff(np.concatenate(([0.0], cumulative, [1.0]))))
    return NumericProfile(counts, Moments(rows - missing, 0.0, float(rows), -4.0, 4.0), missing)


def counts_of(column: ColumnProfile) -> Counts:
    """The histogram."""
    return category_counts(column) if isinstance(column, CategoryProfile) else column.counts


def coarse(column: ColumnProfile) -> Counts:
    """Ten bins of numbers; categories as they are."""
    counts = counts_of(column)
    if isinstance(column, CategoryProfile):
        return counts
    inner = counts[1:-1].copy()
    inner[0] += counts[0]
    inner[-1] += counts[-1]
    return np.array([part.sum() for part in np.array_split(inner, 10)])
