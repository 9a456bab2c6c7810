"""Moments of numbers up to the largest double."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.moments import Moments

LARGEST = float(np.finfo(np.float64).max)
FINITE = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=8)


def moments(values: list[float]) -> Moments:
    return Moments.of(np.array(values, dtype=np.float64))


@given(FINITE, FINITE)
@settings(deadline=None)
def test_means_of_finite_numbers_are_finite(first: list[float], second: list[float]) -> None:
    merged = moments(first).merge(moments(second))
    assert merged.count == len(first) + len(second)
    if merged.count:
        exact = math.fsum(value / merged.count for value in first + second)
        size = max(map(abs, first + second))
        assert merged.mean == pytest.approx(exact, rel=1e-9, abs=1e-9 * size)
        assert merged.squares >= 0
        assert not math.isnan(merged.squares)


def test_a_large_mean_of_many_rows_is_merged() -> None:
    ones, large = moments([1.0] * 999 + [LARGEST]), moments([LARGEST / 2] * 5000)
    merged = ones.merge(large).merge(moments([-LARGEST] * 6000))
    assert merged.mean == pytest.approx(LARGEST / 12_000 + LARGEST / 24_000 * 5000 - LARGEST / 12_000 * 6000)
    assert math.isinf(merged.standard_deviation), "beyond what a double can hold"


@pytest.mark.parametrize("values", [[], [3.0], [1.0, 2.0, 4.0]])
def test_nothing_changes_by_no_values(values: list[float]) -> None:
    assert moments(values).merge(Moments()) == Moments().merge(moments(values)) == moments(values)
