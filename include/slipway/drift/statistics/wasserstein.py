r"""Wasserstein distance of order 1 from binned counts, in units of the baseline's standard deviation.

.. math:: W = \frac1\sigma \int |P(x) - Q(x)|\,dx

The integral runs over the bins' borders with each bin's mass at its end, which is exact up to the width of a bin
(Villani, "Topics in Optimal Transportation", 2003, theorem 2.18, for the form with distribution functions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipway.drift.statistics.counts import Counts, shares


def wasserstein_distance(
    baseline: Counts, window: Counts, edges: NDArray[np.float64], standard_deviation: float
) -> float:
    """Return the distance of two histograms.

    Args:
        baseline: Counts below the first edge, between the edges, and above the last: ``len(edges) + 1`` bins.
        window: Counts in the same bins.
        edges: The bins' borders, rising.
        standard_deviation: The baseline's, in the unit of ``edges``.

    Returns:
        The distance in standard deviations; NaN when a histogram is empty or the baseline does not vary, or beyond
        all doubles.
    """
    if baseline.sum() == 0 or window.sum() == 0 or not 0 < standard_deviation < np.inf:
        return float("nan")
    apart = np.abs(np.cumsum(shares(baseline)) - np.cumsum(shares(window)))
    # apart[i] is the gap of the two curves at edges[i]; between two edges it goes linearly from one to the next.
    between = (apart[:-2] + apart[1:-1]) / 2
    return float(np.sum(between * np.diff(edges)) / standard_deviation)
