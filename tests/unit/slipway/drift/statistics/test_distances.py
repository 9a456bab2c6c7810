import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.statistics.chi_square import chi_square_test
from slipway.drift.statistics.jensen_shannon import jensen_shannon_distance
from slipway.drift.statistics.kolmogorov_smirnov import binning_error_bound, kolmogorov_smirnov_distance
from slipway.drift.statistics.l_infinity import categorical_factor, l_infinity_distance, robust
from slipway.drift.statistics.population_stability_index import population_stability_index
from slipway.drift.statistics.total_variation import expected_under_no_change, total_variation_distance
from slipway.drift.statistics.wasserstein import wasserstein_distance

DISTANCES = [
    jensen_shannon_distance,
    kolmogorov_smirnov_distance,
    l_infinity_distance,
    population_stability_index,
    total_variation_distance,
]
BASELINE = {"a": 10, "b": 20, "c": 25, "d": 10, "e": 5}
histograms = st.integers(2, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 10**6), min_size=n, max_size=n) for _ in range(2)])
)


def counts(categories: dict[str, int], names: list[str]) -> np.ndarray:
    return np.array([categories.get(name, 0) for name in names])


@pytest.mark.parametrize("distance", DISTANCES)
def test_equal_shares_are_no_distance(distance):
    assert distance(np.array([10, 20, 30]), np.array([100, 200, 300])) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("distance", DISTANCES)
def test_an_empty_window_is_not_a_number(distance):
    assert math.isnan(distance(np.array([1, 2]), np.array([0, 0])))


@pytest.mark.parametrize("distance", [d for d in DISTANCES if d is not population_stability_index])
@given(pair=histograms)
def test_distances_are_symmetric_and_between_0_and_1(distance, pair):
    left, right = np.array(pair[0]), np.array(pair[1])
    there, back = distance(left, right), distance(right, left)
    if left.sum() == 0 or right.sum() == 0:
        assert math.isnan(there)
        return
    assert there == pytest.approx(back, abs=1e-12)
    assert 0 <= there <= 1 + 1e-12


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (
            {"a": 10, "b": 20, "c": 25, "d": 10, "e": 5},
            {"a": 11, "b": 20, "c": 25, "d": 10, "e": 10},
            0.06015037593984962,
        ),
        (
            {"a": 10, "b": 20, "c": 25, "d": 10, "e": 5},
            {"f": 11, "a": 20, "c": 25, "d": 10, "e": 10},
            0.2857142857142857,
        ),
    ],
)
def test_categorical_golden_values_of_deequ(left, right, expected):
    """KLLDistanceTest.scala of https://github.com/awslabs/deequ."""
    names = sorted({*left, *right})
    assert l_infinity_distance(counts(left, names), counts(right, names)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("alpha", "expected"), [(0.003, 0.2726338046550349), (0.1, 0.33774199396969184)])
def test_robust_golden_values_of_deequ(alpha, expected):
    """KLLDistanceTest.scala of https://github.com/awslabs/deequ."""
    left = {"a": 207, "b": 20, "c": 25, "d": 14, "e": 25, "g": 13}
    right = {"a": 22, "b": 20, "c": 25, "d": 12, "e": 13, "f": 15}
    names = sorted({*left, *right})
    simple = l_infinity_distance(counts(left, names), counts(right, names))
    found = robust(simple, sum(left.values()), sum(right.values()), categorical_factor(alpha))
    assert found == pytest.approx(expected, abs=1e-12)


def test_numeric_golden_values_of_deequ():
    """[1,2,3,4] against [2,3,4,5]: 0.25 simple, 0 robust (KLLDistanceTest.scala)."""
    distance = kolmogorov_smirnov_distance(np.array([1, 1, 1, 1, 0]), np.array([0, 1, 1, 1, 1]))
    assert distance == 0.25
    assert robust(distance, 4, 4) == 0


CHI_SQUARE = {"a": 207, "b": 20, "c": 25, "d": 14, "e": 25}
CHI_SQUARE_BASELINE = {"a": 223, "b": 20, "c": 25, "d": 12, "e": 13}


@pytest.mark.parametrize(
    ("sample", "expected", "statistic", "p_value"),
    [
        ({**CHI_SQUARE, "g": 13}, {**CHI_SQUARE_BASELINE, "f": 15}, 28.175042782458068, 3.3640191298478506e-5),
        (CHI_SQUARE, CHI_SQUARE_BASELINE, None, 0.013227994814265176),
        (  # two small categories are joined
            {"a": 100, "b": 20, "c": 25, "d": 10, "e": 5, "f": 2},
            {"a": 100, "b": 22, "c": 25, "d": 5, "e": 13, "f": 2},
            8.789790456457125,
            None,
        ),
        ({"a": 100, "b": 40, "c": 30, "d": 10}, {"a": 100, "b": 40, "c": 30, "e": 4}, 0.38754325259515626, None),
    ],
)
def test_chi_square_golden_values_of_deequ(sample, expected, statistic, p_value):
    """KLLDistanceTest.scala of https://github.com/awslabs/deequ."""
    names = sorted({*sample, *expected})
    found = chi_square_test(counts(expected, names), counts(sample, names))
    assert statistic is None or found.statistic == pytest.approx(statistic, rel=1e-12)
    assert p_value is None or found.p_value == pytest.approx(p_value, rel=1e-9)


@pytest.mark.parametrize(
    ("baseline", "window"), [([10, 0], [5, 5]), ([0, 0], [5, 5]), ([10, 10], [0, 0]), ([9, 9], [2, 3])]
)
def test_chi_square_of_less_than_two_categories_is_not_a_number(baseline, window):
    found = chi_square_test(np.array(baseline), np.array(window))
    assert math.isnan(found.statistic)
    assert math.isnan(found.p_value)


def test_chi_square_raises_as_many_alarms_on_unchanged_rows_as_its_level_says():
    rng = np.random.default_rng(4)
    p = np.array([0.4, 0.3, 0.2, 0.08, 0.02])
    alarms = [chi_square_test(1_000_000 * p, rng.multinomial(500, p)).p_value < 0.05 for _ in range(1000)]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.021)


def test_chi_square_golden_value_of_scipy():
    """The example in the documentation of scipy.stats.chisquare."""
    found = chi_square_test(np.array([16, 16, 16, 16, 16, 8]), np.array([16, 18, 16, 14, 12, 12]))
    assert found.statistic == pytest.approx(3.5)
    assert found.p_value == pytest.approx(0.62338763, abs=1e-7)


def test_index_golden_value_of_deequ():
    """Deciles of KLLDistanceTest.scala of https://github.com/awslabs/deequ."""
    expected = np.array([428, 425, 414, 427, 440, 447, 380, 386, 444, 386])
    actual = np.array([426, 437, 429, 391, 469, 433, 360, 443, 371, 418])
    assert population_stability_index(expected, actual) == pytest.approx(0.007406694184014186, rel=1e-12)


@given(pair=histograms)
def test_jensen_shannon_is_scipys(pair):
    from scipy.spatial.distance import jensenshannon

    left, right = np.array(pair[0]), np.array(pair[1])
    if left.sum() and right.sum():
        expected = jensenshannon(left, right, base=2)
        assert jensen_shannon_distance(left, right) == pytest.approx(expected, abs=1e-7)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=200), st.lists(st.integers(1, 200), min_size=1, max_size=200))
def test_wasserstein_of_whole_numbers_is_scipys(left, right):
    from scipy.stats import wasserstein_distance as exact

    edges = np.arange(0.5, 202.0)  # one value a bin
    binned = [np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) for x in (left, right)]
    assert wasserstein_distance(*binned, edges, 2.0) == pytest.approx(exact(left, right) / 2, abs=1e-9)


def test_index_of_a_worked_example():
    """Shares 0.1/0.4/0.5 against 0.2/0.4/0.4: (0.1)ln2 + (-0.1)ln0.8."""
    found = population_stability_index(np.array([10, 40, 50]), np.array([20, 40, 40]))
    assert found == pytest.approx(0.1 * math.log(2) - 0.1 * math.log(0.8))


def test_binned_distance_and_its_bound_enclose_the_exact_one():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=4000), rng.normal(0.3, 1.2, size=3000)
    edges = np.quantile(left, np.linspace(0, 1, 65))
    binned = [np.bincount(np.searchsorted(edges, x, side="right"), minlength=66) for x in (left, right)]
    grid = np.sort(np.r_[left, right])
    exact = np.max(
        np.abs(
            np.searchsorted(np.sort(left), grid, side="right") / 4000
            - np.searchsorted(np.sort(right), grid, side="right") / 3000
        )
    )
    distance = kolmogorov_smirnov_distance(*binned)
    assert distance - 1e-12 <= exact <= distance + binning_error_bound(*binned)


def test_a_shift_by_a_third_of_a_standard_deviation_moves_that_far():
    rng = np.random.default_rng(2)
    left = rng.normal(0, 2.0, size=200_000)
    edges = np.quantile(left, np.linspace(0, 1, 257))
    binned = [np.bincount(np.searchsorted(edges, x, side="right"), minlength=258) for x in (left, left + 2 / 3)]
    assert wasserstein_distance(*binned, edges, float(left.std())) == pytest.approx(1 / 3, rel=0.02)


def test_expected_distance_under_no_change_is_what_chance_shows():
    rng = np.random.default_rng(3)
    p = np.array([0.5, 0.2, 0.2, 0.1])
    found = [total_variation_distance(rng.multinomial(2000, p), rng.multinomial(300, p)) for _ in range(400)]
    assert expected_under_no_change(2000 * p, 300) == pytest.approx(np.mean(found), rel=0.08)
