"""The judge's numbers against independent ones: scipy's distributions, and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from slipway.canary.confidence import lower_bound, upper_bound
from slipway.canary.e_process import (
    ALTERNATIVE_MULTIPLIERS,
    NO_WORSE_FRACTIONS,
    log_e_value_of_level,
    log_e_value_of_no_worse,
    log_e_value_of_ratio,
)

CASES = [(3, 200), (0, 500), (17, 1200), (40, 9000), (5, 5)]


def arrays(*values: int) -> list[np.ndarray]:
    return [np.array([[float(value)]]) for value in values]


@pytest.mark.parametrize(("bad", "requests"), CASES)
@pytest.mark.parametrize("alpha", [0.1, 0.01])
def test_bounds_are_where_the_beta_binomial_mixture_reaches_one_over_alpha(
    bad: int, requests: int, alpha: float
) -> None:
    """A beta(1/2, 1/2) mixture of binomials over a binomial, from scipy's own mass functions."""
    mixture = stats.betabinom(requests, 0.5, 0.5).logpmf(bad)

    def excess(rate: float) -> float:
        return float(mixture - stats.binom(requests, rate).logpmf(bad) - math.log(1 / alpha))

    observed = bad / requests
    if bad:
        low = optimize.brentq(excess, 1e-12, observed)
        assert lower_bound(requests, bad, alpha) == pytest.approx(low, rel=1e-6)
    if bad < requests:
        high = optimize.brentq(excess, max(observed, 1e-12), 1 - 1e-12)
        assert upper_bound(requests, bad, alpha) == pytest.approx(high, rel=1e-6)


@pytest.mark.parametrize(
    ("challenger", "champion"), [((400, 9), (7600, 76)), ((50, 0), (50, 3)), ((5000, 25), (5000, 5))]
)
@pytest.mark.parametrize("max_ratio", [1.0, 1.5])
def test_the_ratio_is_the_conditional_binomial_test(
    challenger: tuple[int, int], champion: tuple[int, int], max_ratio: float
) -> None:
    """Przyborowski and Wilenski: given the sum, the challenger's bad requests are binomial."""
    (n, x), (m, y) = challenger, champion

    def likelihood(ratio: float) -> float:
        return float(stats.binom.pmf(x, x + y, n * ratio / (n * ratio + m)))

    ratios = [likelihood(multiple * max_ratio) / likelihood(max_ratio) for multiple in ALTERNATIVE_MULTIPLIERS]
    found = float(log_e_value_of_ratio(*arrays(n, x, m, y), max_ratio=max_ratio)[0])
    assert math.exp(found) == pytest.approx(np.mean(ratios), rel=1e-9)


@pytest.mark.parametrize(("bad", "requests"), CASES)
@pytest.mark.parametrize("limit", [0.001, 0.01, 0.2])
def test_level_and_no_worse_are_ratios_of_binomials(bad: int, requests: int, limit: float) -> None:
    def log_mean(rates: list[float]) -> float:
        binomial = stats.binom(requests, np.array([*rates, limit])).logpmf(bad)
        return float(special.logsumexp(binomial[:-1] - binomial[-1]) - math.log(len(rates)))

    worse = log_mean([min(multiple * limit, (1 + limit) / 2) for multiple in ALTERNATIVE_MULTIPLIERS])
    better = log_mean([part * limit for part in NO_WORSE_FRACTIONS])
    count, wrong = np.array([float(requests)]), np.array([float(bad)])
    assert log_e_value_of_level(count, wrong, limit)[0] == pytest.approx(worse, rel=1e-6, abs=1e-9)
    assert log_e_value_of_no_worse(count, wrong, np.array([limit]))[0] == pytest.approx(better, rel=1e-6, abs=1e-9)


def test_periods_multiply_as_independent_evidence_does() -> None:
    """Two periods with one ratio of requests are as one with their sums."""
    halves = [np.array([values], dtype=float) for values in ([200, 200], [4, 5], [3800, 3800], [40, 36])]
    whole = arrays(400, 9, 7600, 76)
    assert log_e_value_of_ratio(*halves, max_ratio=1.0) == pytest.approx(log_e_value_of_ratio(*whole, max_ratio=1.0))


def test_the_expectation_under_the_null_is_one() -> None:
    """Exact: all outcomes of 30 bad requests, weighted by their chance when both arms are alike."""
    n, m, total = 300, 900, 30
    chance = stats.binom.pmf(np.arange(total + 1), total, n / (n + m))
    found = [float(log_e_value_of_ratio(*arrays(n, x, m, total - x), max_ratio=1.0)[0]) for x in range(total + 1)]
    assert float(np.sum(chance * np.exp(found))) == pytest.approx(1.0, abs=1e-9)
