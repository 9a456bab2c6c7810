r"""Total variation distance: the largest difference that any set of categories can show.

.. math:: TV = \tfrac12 \sum_i |p_i - q_i|

(Levin, Peres & Wilmer, "Markov Chains and Mixing Times", 2009, proposition 4.2.)
"""

from __future__ import annotations

import numpy as np

from slipway.drift.statistics.counts import Counts, shares


def total_variation_distance(baseline: Counts, window: Counts) -> float:
    """Return the distance of two histograms over the same categories, 0 to 1; NaN when one is empty."""
    if baseline.sum() == 0 or window.sum() == 0:
        return float("nan")
    return float(np.abs(shares(baseline) - shares(window)).sum() / 2)


def expected_under_no_change(baseline: Counts, window_rows: int) -> float:
    r"""Return the distance that two samples of one distribution show on average.

    By the normal approximation :math:`E|\hat p_i - \hat q_i| \approx \sqrt{2 p_i (1-p_i) (1/n + 1/m) / \pi}` for each
    category; half their sum.
    """
    if baseline.sum() == 0 or window_rows == 0:
        return float("nan")
    p = shares(baseline)
    variance = p * (1 - p) * (1 / baseline.sum() + 1 / window_rows)
    return float(np.sqrt(2 * variance / np.pi).sum() / 2)
