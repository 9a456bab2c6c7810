r"""Kolmogorov–Smirnov distance from binned counts.

.. math:: D = \max_i |P_i - Q_i|

over the cumulative shares at the bins' borders. The exact distance lies between this and this plus the largest share
that both put into one bin, because inside a bin the two curves can part by no more than that.
"""

from __future__ import annotations

import numpy as np

from slipway.drift.statistics.counts import Counts, shares


def kolmogorov_smirnov_distance(baseline: Counts, window: Counts) -> float:
    """Return the distance of two histograms over the same ordered bins, 0 to 1; NaN when one is empty."""
    if baseline.sum() == 0 or window.sum() == 0:
        return float("nan")
    return float(np.max(np.abs(np.cumsum(shares(baseline)) - np.cumsum(shares(window)))))


def binning_error_bound(baseline: Counts, window: Counts) -> float:
    """Return by how much the exact distance may exceed the binned one, at most."""
    if baseline.sum() == 0 or window.sum() == 0:
        return float("nan")
    return float(np.max(np.maximum(shares(baseline), shares(window))))
