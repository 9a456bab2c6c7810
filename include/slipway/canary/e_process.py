r"""Tests that stay valid however often one looks.

An *e-process* is a non-negative process :math:`E_t` whose expectation is at most 1 under the null hypothesis at every
stopping time. By Ville's inequality :math:`P(\exists t: E_t \ge 1/\alpha) \le \alpha`, so a canary may look after
every metric period and stop at the first :math:`E_t \ge 1/\alpha` without inflating the share of healthy releases
that are rolled back (Ramdas, Grünwald, Vovk & Shafer, "Game-theoretic statistics and safe anytime-valid inference",
Statistical Science 38(4), 2023).

The tests here are mixtures of likelihood ratios over a fixed grid of alternatives (Robbins, "Statistical methods
related to the law of the iterated logarithm", Ann. Math. Statist. 41(5), 1970): an average of martingales is one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: How many times worse than the limit an alternative is. Log-spaced from "a quarter worse", which takes long to
#: tell, to "16 times worse", which a handful of requests shows. Equal weights cost at most log(10) = 2.3 nats.
ALTERNATIVE_MULTIPLIERS: FloatArray = np.geomspace(1.25, 16.0, 10)

#: Where a healthy challenger's rate lies below the limit that a pass rules out, as parts of that limit.
NO_WORSE_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.85)


def log_e_value_of_ratio(
    challenger_requests: FloatArray,
    challenger_bad: FloatArray,
    champion_requests: FloatArray,
    champion_bad: FloatArray,
    max_ratio: float,
) -> FloatArray:
    r"""Evidence against "the challenger's bad rate is at most ``max_ratio`` times the champion's".

    Given a bad request in a period in which the arms served :math:`n_c` and :math:`n_b` requests, it is the
    challenger's with probability :math:`\theta_\rho = n_c\rho / (n_c\rho + n_b)`, where :math:`\rho` is the ratio of
    the bad rates (the conditional binomial test of two Poisson rates: Przyborowski & Wilenski, Biometrika 31, 1940).
    For each period with :math:`x` of :math:`K` bad requests in the challenger's arm, the likelihood ratio of
    :math:`\rho = m\rho_0` against :math:`\rho_0` is
    :math:`(\theta_{m\rho_0}/\theta_{\rho_0})^{x} ((1-\theta_{m\rho_0})/(1-\theta_{\rho_0}))^{K-x}`; periods multiply
    and the alternatives *m* are averaged. With fixed request counts *x* is hypergeometric, which is less spread than
    the binomial of the same mean (Hoeffding 1963, theorem 4), so for ``max_ratio`` 1 the expectation stays at most 1
    at any bad rate. For other ratios it holds as far as both bad rates are small.

    Args:
        challenger_requests: Requests in the challenger's arm; last axis = periods.
        challenger_bad: Bad requests among them; same shape.
        champion_requests: Requests in the champion's arm; same shape.
        champion_bad: Bad requests among them; same shape.
        max_ratio: The ratio of bad rates that is still accepted; above 0.

    Returns:
        Natural logarithm of the e-value, one for each leading index.
    """
    total_bad = challenger_bad + champion_bad
    seen = (challenger_requests > 0) & (champion_requests > 0)
    log_ratios = []
    null_odds = max_ratio * challenger_requests / np.where(seen, champion_requests, 1.0)
    for multiplier in ALTERNATIVE_MULTIPLIERS:
        # theta / theta0 = m (1 + odds) / (1 + m odds);  (1 - theta) / (1 - theta0) = (1 + odds) / (1 + m odds)
        shrink = np.log1p(null_odds) - np.log1p(multiplier * null_odds)
        periods = challenger_bad * np.log(multiplier) + total_bad * shrink
        log_ratios.append(np.sum(np.where(seen, periods, 0.0), axis=-1))
    return _log_mean_exp(np.stack(log_ratios))


def log_e_value_of_level(requests: FloatArray, bad: FloatArray, limit: float) -> FloatArray:
    """Evidence against "the bad rate is at most ``limit``", for one arm.

    The mixture of binomial likelihood ratios of ``m * limit`` against ``limit`` over the multipliers *m* that keep
    the rate below 1.

    Args:
        requests: Requests since the step began, summed over its periods.
        bad: Bad requests among them; same shape.
        limit: The rate that is still accepted, between 0 and 1. At 0 any bad request is conclusive.

    Returns:
        Natural logarithm of the e-value, shape of ``requests``.
    """
    if limit <= 0:
        return np.where(bad > 0, np.inf, 0.0)
    rates = np.minimum(ALTERNATIVE_MULTIPLIERS * limit, (1.0 + limit) / 2)
    log_ratios = [
        bad * np.log(rate / limit) + (requests - bad) * (np.log1p(-rate) - np.log1p(-limit)) for rate in rates
    ]
    return _log_mean_exp(np.stack(log_ratios))


def log_e_value_of_no_worse(requests: FloatArray, bad: FloatArray, limit: FloatArray) -> FloatArray:
    """Evidence against "the bad rate is at least ``limit``", for one arm: what a pass rests on.

    The mixture of binomial likelihood ratios of ``f * limit`` against ``limit`` over fixed fractions *f*.

    Args:
        requests: Requests since the step began, summed over its periods.
        bad: Bad requests among them; same shape.
        limit: The rate to rule out, above 0 and below 1; same shape.

    Returns:
        Natural logarithm of the e-value, shape of ``requests``.
    """
    log_ratios = [
        bad * np.log(fraction) + (requests - bad) * (np.log1p(-fraction * limit) - np.log1p(-limit))
        for fraction in NO_WORSE_FRACTIONS
    ]
    return _log_mean_exp(np.stack(log_ratios))


def _log_mean_exp(log_values: FloatArray) -> FloatArray:
    peak = np.max(log_values, axis=0)
    mean: FloatArray = peak + np.log(np.mean(np.exp(log_values - peak), axis=0))
    return mean
