import pytest

from bench.peers.kayenta import classify, shift


def test_interval_of_the_published_small_case():
    """Kayenta's own MannWhitneySuite: estimate 22.5, interval 6 to 39."""
    found = shift([10, 20, 30, 40], [1, 2, 3, 4], confidence=0.95)
    assert (found.low, found.estimate, found.high) == pytest.approx((6, 22.5, 39), abs=1e-3)


@pytest.mark.parametrize(
    ("baseline", "canary", "verdict"),
    [
        ([0, 0, 0, 0, 0, 0], [0, 1, 2, 1, 0, 0], "Pass"),
        ([1] * 10, [100] * 7 + [1] * 3, "Pass"),
        ([1] * 10, [100] * 8 + [1] * 2, "High"),
        ([5] * 10, [5] * 10, "Pass"),
    ],
    ids=["issue 426", "issue 6278, 7 of 10", "issue 6278, 8 of 10", "identical"],
)
def test_verdicts_that_users_published(baseline, canary, verdict):
    assert classify(canary, baseline) == verdict
