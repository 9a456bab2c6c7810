"""What captured answers are counted as: usable or not, and like the champion's or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts

#: Between them lie 98 % of the champion's answers; what is outside is unlike them.
TAILS = (0.01, 0.99)
#: Fewer answers of the champion do not say where its tails are.
MIN_ANSWERS = 200
_GROWTH = 1.1
_NAN = float("nan")


@dataclass(frozen=True)
class CapturedArm:
    """Calls of one variant within a window.

    Args:
        period: Number of the period of each call, from 0.
        usable: Whether its answer can be used.
        number: Its answer; NaN where that is no number.
    """

    period: NDArray[np.int64]
    usable: NDArray[np.bool_]
    number: NDArray[np.float64]


def count_unusable(challenger: CapturedArm, champion: CapturedArm, periods: int) -> ComparisonCounts:
    """Count answers, and those that cannot be used, one entry a period."""
    arms = [_counts(arm.period, ~arm.usable, periods) for arm in (challenger, champion)]
    return _compared(arms)


def count_unlike(challenger: CapturedArm, champion: CapturedArm, periods: int) -> ComparisonCounts:
    """Count answers that are numbers, and those outside the champion's earlier ones, one entry a period.

    Periods before which too little is known of the champion's answers count nothing.
    """
    tails = tails_before(champion, periods)
    arms = []
    for arm in (challenger, champion):
        low, high = tails[arm.period].T
        known = np.isfinite(arm.number) & np.isfinite(low)
        outside = (arm.number < low) | (arm.number > high)
        arms.append(_counts(arm.period[known], outside[known], periods))
    return _compared(arms)


def tails_before(champion: CapturedArm, periods: int) -> NDArray[np.float64]:
    """For each period the champion's tails before it: limits that do not depend on what they are applied to.

    They are computed anew whenever the answers before have grown by a tenth, so a long wait costs little.

    Returns:
        An array of (low, high); NaN where there are too few answers.
    """
    has_number = np.isfinite(champion.number)
    period, number = champion.period[has_number], champion.number[has_number]
    order = np.argsort(period, kind="stable")
    period, number = period[order], number[order]
    limits = np.full((periods, 2), _NAN)
    present, known = np.array([_NAN, _NAN]), 0
    for index, count in enumerate(np.searchsorted(period, np.arange(periods), side="left")):
        if count >= max(MIN_ANSWERS, known * _GROWTH):
            present, known = np.quantile(number[:count], TAILS), int(count)
        limits[index] = present
    return limits


def _counts(period: NDArray[np.int64], bad: NDArray[np.bool_], periods: int) -> list[ArmCounts]:
    sums = [np.bincount(each, minlength=periods).tolist() for each in (period, period[bad])]
    return [ArmCounts(*both) for both in zip(*sums, strict=True)]


def _compared(arms: Sequence[Sequence[ArmCounts]]) -> ComparisonCounts:
    return ComparisonCounts(tuple(PeriodCounts(*pair) for pair in zip(*arms, strict=True)))
