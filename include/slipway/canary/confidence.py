r"""Confidence bounds on a rate that hold at all looks at once.

The mixture of binomial likelihoods over a Beta(½, ½) prior against a rate *p* is an e-process for that *p*:

.. math:: E_n(p) = \frac{B(x + ½, n - x + ½)}{B(½, ½)\; p^{x} (1-p)^{n-x}}

The rates with :math:`E_n(p) < 1/\alpha` form a confidence sequence: all of them together contain the true rate with
probability at least :math:`1-\alpha` (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49(2), 2021).
"""

from __future__ import annotations

import math

_BISECTIONS = 60


def upper_bound(requests: int, bad: int, alpha: float) -> float:
    """The largest rate that ``bad`` of ``requests`` leaves possible, at all looks at once.

    Args:
        requests: Number of requests.
        bad: Bad ones among them.
        alpha: Chance that the true rate is ever outside the bounds, between 0 and 1.

    Returns:
        A rate between ``bad / requests`` and 1; 1 without requests.
    """
    return 1.0 - lower_bound(requests, requests - bad, alpha)


def lower_bound(requests: int, bad: int, alpha: float) -> float:
    """The smallest rate that ``bad`` of ``requests`` leaves possible, at all looks at once.

    Args:
        requests: Number of requests.
        bad: Bad ones among them.
        alpha: Chance that the true rate is ever outside the bounds, between 0 and 1.

    Returns:
        A rate between 0 and ``bad / requests``; 0 without requests.
    """
    if requests == 0 or bad == 0:
        return 0.0
    threshold = math.log(1.0 / alpha)
    outside, inside = 0.0, bad / requests
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        if _log_e_value(requests, bad, middle) < threshold:
            inside = middle
        else:
            outside = middle
    return inside


def _log_e_value(requests: int, bad: int, rate: float) -> float:
    good = requests - bad
    if rate <= 0.0:
        return math.inf if bad else 0.0
    likelihood = bad * math.log(rate) + (good * math.log1p(-rate) if good else 0.0)
    return _log_beta(bad + 0.5, good + 0.5) - _log_beta(0.5, 0.5) - likelihood


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
