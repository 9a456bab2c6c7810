"""Kayenta's judge for one metric: a two-sided Mann-Whitney test with a confidence interval, run anew at each look.

After NetflixACAJudge as documented in https://github.com/spinnaker/kayenta/blob/master/docs/canary-config.md and R's
``wilcox.test(exact=FALSE, correct=TRUE, conf.int=TRUE)``, which it ports: normal approximation with tie correction
and continuity correction; the interval is where the standardised statistic crosses the normal quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.98
TOLERANCE = 0.25
_BISECTIONS = 60


@dataclass(frozen=True)
class Shift:
    """Hodges-Lehmann estimate of experiment minus control, with its confidence interval."""

    low: float
    estimate: float
    high: float


def shift(experiment: ArrayLike, control: ArrayLike, confidence: float = CONFIDENCE) -> Shift:
    """Estimate by how much the experiment's values lie above the control's."""
    x, y = np.asarray(experiment, dtype=float), np.asarray(control, dtype=float)
    quantile = NormalDist().inv_cdf(1 - (1 - confidence) / 2)
    # The statistic is a step function and may be 0 over a whole range: its middle is the Hodges-Lehmann estimate.
    estimate = (_crossing(x, y, 1e-9) + _crossing(x, y, -1e-9)) / 2
    return Shift(low=_crossing(x, y, quantile), estimate=estimate, high=_crossing(x, y, -quantile))


def classify(experiment: ArrayLike, control: ArrayLike) -> str:
    """``High``, ``Low`` or ``Pass`` for one metric, with Kayenta's default confidence and tolerance."""
    x, y = np.asarray(experiment, dtype=float), np.asarray(control, dtype=float)
    if np.array_equal(np.sort(x), np.sort(y)) or np.ptp(np.r_[x, y]) == 0:
        return "Pass"
    found = shift(x, y)
    bound = TOLERANCE * abs(found.estimate)
    if found.low > bound:
        return "High"
    return "Low" if found.high < -bound else "Pass"


def _crossing(x: NDArray[np.float64], y: NDArray[np.float64], level: float) -> float:
    """The shift at which the standardised statistic falls to ``level`` (it falls as the shift grows)."""
    low, high = float(x.min() - y.max()), float(x.max() - y.min())
    if _standardised(x, y, low) <= level:
        return low
    if _standardised(x, y, high) >= level:
        return high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _standardised(x, y, middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _standardised(x: NDArray[np.float64], y: NDArray[np.float64], by: float) -> float:
    n, m = len(x), len(y)
    _, inverse, ties = np.unique(np.r_[x - by, y], return_inverse=True, return_counts=True)
    ends = np.cumsum(ties)
    ranks = (ends - (ties - 1) / 2)[inverse]
    centred = ranks[:n].sum() - n * (n + 1) / 2 - n * m / 2
    spread = np.sqrt(
        n * m / 12 * ((n + m + 1) - float((ties.astype(float) ** 3 - ties).sum()) / ((n + m) * (n + m - 1)))
    )
    if spread == 0:
        return 0.0
    return float((centred - np.sign(centred) * 0.5) / spread)
