r"""Pearson's chi-square test of a window's categories against the baseline's shares, as deequ and Model Monitor run it.

.. math:: X^2 = \sum_i (o_i - e_i)^2 / e_i

with :math:`o_i` the window's counts and :math:`e_i` the baseline's shares of as many rows (Pearson, Phil. Mag. 50,
1900); k - 1 degrees of freedom. Categories that the baseline does not know are left out: nothing is expected of them.
Small categories are joined, smallest first, until the approximation holds: with two left both expect 10 (Cochran, Ann.
Math. Stat. 23(3), 1952), with more at most a fifth expect less than 5 (Yates, Moore & McCabe, "The Practice of
Statistics", 1999; https://github.com/awslabs/deequ, analyzers/Distance.scala). The test takes the baseline for the
truth and rows for independent, so with many rows it finds every difference: it is reported, no verdict rests on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway.drift.statistics.counts import Counts, shares

_FEWEST_OF_TWO = 10.0
_FEWEST = 5.0
_SMALL_SHARE = 0.2


@dataclass(frozen=True)
class ChiSquare:
    """The test's outcome; NaN when fewer than two categories are left.

    Args:
        statistic: :math:`X^2`.
        p_value: Chance of a statistic at least as large when nothing changed.
    """

    statistic: float
    p_value: float


def chi_square_test(baseline: Counts, window: Counts) -> ChiSquare:
    """Test two histograms over the same categories."""
    from scipy.special import chdtrc

    known = baseline > 0
    observed = window[known].astype(np.float64)
    expected = shares(baseline[known]) * observed.sum()
    observed, expected = _joined(observed, expected)
    if len(expected) < 2 or observed.sum() == 0:
        return ChiSquare(float("nan"), float("nan"))
    statistic = float(np.sum((observed - expected) ** 2 / expected))
    return ChiSquare(statistic, float(chdtrc(len(expected) - 1, statistic)))


def _joined(
    observed: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join the smallest category to the second smallest until few enough are small."""
    order = np.argsort(expected, kind="stable")
    observed, expected = observed[order], expected[order]
    while len(expected) >= 2 and _too_small(expected):
        joined_observed, joined_expected = observed[:2].sum(), expected[:2].sum()
        place = int(np.searchsorted(expected[2:], joined_expected))
        observed = np.insert(observed[2:], place, joined_observed)
        expected = np.insert(expected[2:], place, joined_expected)
    return observed, expected


def _too_small(expected: NDArray[np.float64]) -> bool:
    if len(expected) == 2:
        return bool(expected[0] < _FEWEST_OF_TWO)
    return int(np.sum(expected < _FEWEST)) > int(_SMALL_SHARE * len(expected))
