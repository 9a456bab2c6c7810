r"""Jensen–Shannon distance: the square root of the divergence, in bits, so between 0 and 1.

.. math:: JS^2 = \tfrac12 KL(p \| m) + \tfrac12 KL(q \| m), \quad m = (p + q)/2

(Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37(1), 1991; its root is a metric:
Endres & Schindelin, IEEE Trans. Inf. Theory 49(7), 2003.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slipway.drift.statistics.counts import Counts, shares


def jensen_shannon_distance(baseline: Counts, window: Counts) -> float:
    """Return the distance of two histograms over the same bins, 0 to 1; NaN when one is empty."""
    if baseline.sum() == 0 or window.sum() == 0:
        return float("nan")
    p, q = shares(baseline), shares(window)
    middle = (p + q) / 2
    divergence = (_relative_entropy_bits(p, middle) + _relative_entropy_bits(q, middle)) / 2
    return float(np.sqrt(max(0.0, divergence)))


def _relative_entropy_bits(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    present = p > 0
    return float(np.sum(p[present] * np.log2(p[present] / q[present])))
