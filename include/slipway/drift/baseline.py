"""The baseline: what the model was trained on, and how much its own parts differ.

Data of one healthy process differ from hour to hour by more than chance alone explains (autocorrelation, time of
day, season). A test for independent rows calls that drift nearly every week. So the baseline measures it: the
training rows are cut into chunks in time order and each chunk is compared with the rest. What exceeds chance is the
column's *between-chunk variance*, which every later verdict allows for (a random-effects model; the idea of judging
by the reference's own chunks is NannyML's).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slipway.drift.bins import BinSet
from slipway.drift.effect import effect_of
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile
from slipway.errors import InvalidInputError

#: Mean and spread of the square of the Kolmogorov distribution: pi^2/12, and sqrt(7 pi^4/720 - (pi^2/12)^2) over it.
_MEAN_SQUARE = math.pi**2 / 12
_RELATIVE_SPREAD = math.sqrt(7 * math.pi**4 / 720 - _MEAN_SQUARE**2) / _MEAN_SQUARE
#: Excess below this many standard errors is taken for chance.
_CHANCE_ERRORS = 2.0
#: Few chunks estimate the variance badly: the 10 % quantile of chi-square guards against an estimate too small.
_QUANTILE_10_PCT = -1.2816
MIN_CHUNKS = 4


@dataclass(frozen=True)
class Spread:
    """How much parts of the baseline differ in one column, beyond chance.

    Args:
        variance: Between-chunk variance of the effect, in squared units of the effect.
        chunk_rows: Typical rows of a chunk.
        chunks: How many chunks it was estimated from; 0 when it could not be.
    """

    variance: float = 0.0
    chunk_rows: int = 0
    chunks: int = 0

    def for_rows(self, rows: int) -> float:
        """The variance to allow for in a window of ``rows``: smaller windows average over less and vary more."""
        if rows <= 0 or rows >= self.chunk_rows:
            return self.variance
        return self.variance * self.chunk_rows / rows


@dataclass(frozen=True)
class Baseline:
    """Bins, profile and spread of the training data."""

    bins: BinSet
    profile: Profile
    spreads: Mapping[str, Spread]


def make_baseline(bins: BinSet, chunks: Sequence[Profile]) -> Baseline:
    """Make a baseline from the profiles of its chunks.

    Args:
        bins: Bins cut from the same rows.
        chunks: Profiles of the rows in time order, each of about the size of a window that will be judged.

    Returns:
        The baseline.

    Raises:
        InvalidInputError: There is no chunk, or no row.
    """
    if not chunks or not any(chunk.rows for chunk in chunks):
        raise InvalidInputError("A baseline needs rows; none were found. Check the training data's location.")
    whole = merge_all(chunks)
    spreads = {name: _spread(whole, chunks, name) for name in bins.columns}
    return Baseline(bins=bins, profile=whole, spreads=spreads)


def merge_all(profiles: Iterable[Profile]) -> Profile:
    """Merge one profile or more over the same bins."""
    merged: Profile | None = None
    for profile in profiles:
        merged = profile if merged is None else merged.merge(profile)
    if merged is None:
        raise InvalidInputError("There is no profile to merge.")
    return merged


def _spread(whole: Profile, chunks: Sequence[Profile], name: str) -> Spread:
    column = whole.columns[name]
    ratios, inverse_rows, sizes = [], [], []
    for chunk in chunks:
        part = chunk.columns[name]
        rest = _without(column, part)
        effect = effect_of(rest, part)
        if effect.window_rows == 0 or effect.baseline_rows == 0:
            continue
        inverse = 1 / effect.window_rows + 1 / effect.baseline_rows
        excess = max(0.0, effect.value - effect.bias)
        ratios.append(excess**2 / _MEAN_SQUARE / inverse)
        inverse_rows.append(inverse)
        sizes.append(effect.window_rows)
    if len(ratios) < MIN_CHUNKS:
        return Spread()
    ratio, inverse = float(np.mean(ratios)), float(np.mean(inverse_rows))
    size = int(np.median(sizes))
    if ratio <= 1 + _CHANCE_ERRORS * _RELATIVE_SPREAD / math.sqrt(len(ratios)):
        return Spread(0.0, size, len(ratios))
    variance = max(0.0, ratio * _guard(len(ratios)) - 1) * inverse
    return Spread(variance, size, len(ratios))


def _guard(chunks: int) -> float:
    """``k`` over the 10 % quantile of chi-square with ``k`` degrees of freedom (Wilson & Hilferty, PNAS 17, 1931)."""
    correction = 2 / (9 * chunks)
    return float(1 / (1 - correction + _QUANTILE_10_PCT * math.sqrt(correction)) ** 3)


def _without(whole: ColumnProfile, part: ColumnProfile) -> ColumnProfile:
    """What remains of a column when a part is taken away; moments are not needed."""
    if isinstance(whole, NumericProfile) and isinstance(part, NumericProfile):
        return NumericProfile(counts=whole.counts - part.counts)
    if isinstance(whole, CategoryProfile) and isinstance(part, CategoryProfile):
        unnamed = whole.new_rows - part.new_rows
        return CategoryProfile(counts=whole.counts - part.counts, new_unnamed=unnamed)
    raise InvalidInputError("A chunk's column is of another kind than the baseline's.")
