import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slipway.canary.confidence import lower_bound, upper_bound
from slipway.canary.share import check_share


@given(st.integers(0, 10**7), st.floats(0, 1), st.floats(0.0001, 0.5))
def test_bounds_enclose_the_observed_rate(requests, rate, alpha):
    bad = round(requests * rate)
    observed = bad / requests if requests else 0.0
    assert 0.0 <= lower_bound(requests, bad, alpha) <= observed + 1e-12
    assert observed - 1e-12 <= upper_bound(requests, bad, alpha) <= 1.0


def test_the_true_rate_stays_inside_at_all_looks_as_often_as_promised():
    rng = np.random.default_rng(3)
    rate, alpha, runs, outside = 0.02, 0.1, 300, 0
    for _ in range(runs):
        bad = rng.binomial(1, rate, 3000).cumsum()
        looks = range(100, 3001, 100)
        outside += any(
            not lower_bound(n, int(bad[n - 1]), alpha) <= rate <= upper_bound(n, int(bad[n - 1]), alpha) for n in looks
        )
    assert outside / runs <= alpha


def test_share_of_a_fair_split_is_fine_and_of_another_is_named():
    assert not check_share(500, 9500, 0.05).mismatch
    found = check_share(1000, 9000, 0.05)
    assert found.mismatch
    assert "10.0%" in found.reason
    assert "5.0%" in found.reason


def test_a_tiny_proven_deviation_is_tolerated():
    assert not check_share(5_100_000, 94_900_000, 0.05).mismatch
