r"""L-infinity distance, simple and robust, as deequ and SageMaker Model Monitor compute it.

.. math:: L = \max_i |p_i - q_i|, \qquad L_{robust} = \max(0, L - c\sqrt{(n+m)/(nm)})

with :math:`c = \sqrt{-\ln(\alpha/2)/2}`; for numeric columns deequ rounds that to 1.8
(https://github.com/awslabs/deequ, analyzers/Distance.scala). For ordered bins *p* and *q* are cumulative.
"""

from __future__ import annotations

import math

import numpy as np

from slipway.drift.statistics.counts import Counts, shares

DEFAULT_ALPHA = 0.003
NUMERIC_FACTOR = 1.8


def l_infinity_distance(baseline: Counts, window: Counts) -> float:
    """Return the largest difference of shares of one category, 0 to 1; NaN when a histogram is empty."""
    if baseline.sum() == 0 or window.sum() == 0:
        return float("nan")
    return float(np.max(np.abs(shares(baseline) - shares(window))))


def categorical_factor(alpha: float = DEFAULT_ALPHA) -> float:
    """Return *c* for categorical columns at a level of significance."""
    return math.sqrt(-math.log(alpha / 2) / 2)


def robust(distance: float, baseline_rows: int, window_rows: int, factor: float = NUMERIC_FACTOR) -> float:
    """Return a distance less what chance explains; never below 0."""
    return max(0.0, distance - factor * math.sqrt((baseline_rows + window_rows) / (baseline_rows * window_rows)))
