"""The table finds what a search finds, whatever the borders are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slipway.drift.bins import NumericBins
from slipway.drift.lookup import Lookup

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.integers(-40, 40).map(lambda step: 1.0 + step * 2.0**-52) | st.integers(-5, 300).map(float)
NUMBERS = st.lists(FINITE | NEAR | st.floats(-1, 1), max_size=60)


def searched(edges: NDArray[np.float64], values: NDArray[np.float64]) -> list[int]:
    return np.searchsorted(edges, values, side="right").tolist()


@given(NUMBERS, NUMBERS)
@settings(deadline=None)
def test_places_are_those_of_a_search(borders: list[float], numbers: list[float]) -> None:
    edges = np.unique(np.array(borders))
    # Where a table could go wrong: on a border, and one step beside it.
    with np.errstate(over="ignore"):
        beside = [np.nextafter(edges, way) for way in (-np.inf, np.inf)]
    values = np.concatenate([np.array(numbers), edges, *beside])
    values = values[np.isfinite(values)]
    lookup = Lookup(edges)
    assert lookup.places(values).tolist() == searched(edges, values)
    # Few values are compared one by one, of many the cells are counted; some of each in turn.
    for many in (values, np.resize(values, 9000), np.resize(values, 70_000)):
        expected = np.bincount(np.searchsorted(edges, many, side="right"), minlength=edges.size + 1)
        assert lookup.counts(many).tolist() == expected.tolist()


@given(st.integers(0, 2**32), st.sampled_from(["normal", "exponential", "lognormal", "cauchy", "steps", "constant"]))
@settings(deadline=None)
def test_bins_of_a_baseline_count_another_sample_exactly(seed: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    draw = {
        "normal": rng.standard_normal,
        "exponential": rng.exponential,
        "lognormal": rng.lognormal,
        "cauchy": rng.standard_cauchy,
        "steps": lambda size: rng.integers(0, 300, size).astype(float),
        "constant": lambda size: np.full(size, 2013.0),
    }[shape]
    bins = NumericBins.of(draw(size=2000))
    values = np.concatenate([draw(size=9000), [-1.7e308, 1.7e308]])
    below = np.searchsorted(np.sort(values), bins.edges, side="left")
    assert bins.counts(values).tolist() == np.diff(np.concatenate(([0], below, [values.size]))).tolist()


@pytest.mark.parametrize(
    "edges",
    [[], [1.0], [1.0, 1.0], [0.0, 5e-324], [-1.7e308, 1.7e308], [-np.inf, 0.0, np.inf], [0.0, 0.0, 1.0, 1.0, 2.0]],
)
def test_borders_that_no_table_fits_are_searched(edges: list[float]) -> None:
    values = np.array([-1.7e308, -1.0, -0.0, 0.0, 5e-324, 0.5, 1.0, 1.5, 2.0, 1.7e308])
    assert Lookup(np.array(edges)).places(values).tolist() == searched(np.array(edges), values)
