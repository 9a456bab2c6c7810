import numpy as np
import pytest

from bench.peers.kayenta import classify, shift


def test_interval_of_the_published_small_case():
    """Kayenta's own MannWhitneySuite: estimate 22.5, interval 6 to 39."""
    found = shift([10, 20, 30, 40], [1, 2, 3, 4], confidence=0.95)
    assert (found.low, found.estimate, found.high) == pytest.approx((6, 22.5, 39), abs=1e-3)


CONTROL = {
    1.5: 2, 2.0: 16, 2.5: 18, 3.0: 16, 3.5: 10, 4.0: 8, 4.5: 4, 5.0: 6, 5.5: 2, 6.0: 5, 8.0: 1, 15.5: 1, 54.5: 1
}  # fmt: skip
EXPERIMENT = {
    1.5: 9, 2.0: 16, 2.5: 22, 3.0: 17, 3.5: 9, 4.0: 5, 4.5: 1, 5.0: 3, 5.5: 1, 6.0: 2, 6.5: 2, 7.0: 1, 7.5: 1, 16.5: 1
}  # fmt: skip
"""How often each value comes in the 90 against 90 of Kayenta's "tie out with R version"."""


def test_interval_of_r_with_many_ties():
    """R's wilcox.test gives -0.5000025 and -3.4863e-5: it searches the roots, which lie on ties, to within 1e-4."""
    control, experiment = (np.repeat(list(counts), list(counts.values())) for counts in (CONTROL, EXPERIMENT))
    assert (len(control), len(experiment)) == (90, 90)
    found = shift(experiment, control, confidence=0.95)
    assert (found.low, found.high) == pytest.approx((-0.5000025, -3.4863e-5), abs=1e-4)


@pytest.mark.parametrize(
    ("baseline", "canary", "verdict"),
    [
        ([0, 0, 0, 0, 0, 0], [0, 1, 2, 1, 0, 0], "Pass"),
        ([1] * 10, [100] * 7 + [1] * 3, "Pass"),
        ([1] * 10, [100] * 8 + [1] * 2, "High"),
        ([5] * 10, [5] * 10, "Pass"),
        (
            [1, 100, 4, 101, 5, 102, 6, 103, 7, 104, 8, 105, 9, 106, 17],
            [10 + tenth / 10 for tenth in range(7)] + [17 + tenth / 10 for tenth in range(8)],
            "Pass",
        ),
    ],
    ids=["issue 426", "issue 6278, 7 of 10", "issue 6278, 8 of 10", "identical", "issue 780, other spread"],
)
def test_verdicts_that_users_published(baseline, canary, verdict):
    assert classify(canary, baseline) == verdict
