"""When a statistic changed its level."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.change_point import ALPHA, Point, apart, chance_of_no_change, find_changes

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def history(values: list[float], *, step: timedelta = DAY, window: timedelta = DAY) -> list[Point]:
    """A value a step, each of a window that ends there."""
    ends = [BEGIN + step * (index + 1) for index in range(len(values))]
    return [Point(end - window, end, value) for end, value in zip(ends, values, strict=True)]


def noise(count: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(0.05, 0.01, count).tolist()


def test_a_step_is_dated_to_the_window_that_shows_it_first() -> None:
    (found,) = find_changes(history([*noise(20), *(0.3 + value for value in noise(6, 1))]), material=0.02)
    assert (found.after, found.by) == (BEGIN + 20 * DAY, BEGIN + 21 * DAY)
    assert found.before_level == pytest.approx(0.05, abs=0.01)
    assert found.after_level == pytest.approx(0.35, abs=0.01)
    assert found.p_value <= ALPHA


def test_a_change_of_three_windows_ago_shows_already() -> None:
    (found,) = find_changes(history([*noise(30), 0.4, 0.41, 0.39]), material=0.02)
    assert found.by == BEGIN + 31 * DAY


def test_one_freak_value_is_no_change() -> None:
    assert find_changes(history([*noise(15), 0.9, *noise(15, 1)]), material=0.02) == []


def test_a_level_that_comes_and_goes_gives_two_changes() -> None:
    found = find_changes(history([*noise(15), *(0.3 + each for each in noise(12, 1)), *noise(15, 2)]), material=0.02)
    assert [each.by for each in found] == [BEGIN + 16 * DAY, BEGIN + 28 * DAY]


def test_a_change_that_does_not_matter_is_left_out() -> None:
    values = [*noise(20), *(0.05 + each for each in noise(20, 1))]
    assert find_changes(history(values), material=0.03)
    assert find_changes(history(values), material=0.1) == []


def test_overlapping_windows_are_no_evidence() -> None:
    """Hourly looks at the last day: a slow random walk within it must not pass for many independent days."""
    alarms = 0
    for seed in range(100):
        hourly = np.random.default_rng(seed).normal(size=24 * 20)
        rolling = np.convolve(hourly, np.ones(24) / 24, mode="valid").tolist()
        alarms += bool(find_changes(history(rolling, step=timedelta(hours=1))))
    assert alarms <= 5


def test_false_alarms_stay_below_the_level() -> None:
    rng = np.random.default_rng(7)
    alarms = sum(chance_of_no_change(rng.exponential(size=40)) <= 0.05 for _ in range(2000))
    assert alarms <= 100 + 3 * np.sqrt(2000 * 0.05 * 0.95)


def test_too_few_or_equal_values_say_nothing() -> None:
    assert chance_of_no_change(np.array([0.0] * 5 + [1.0] * 4)) == 1
    assert find_changes(history([0.2] * 40)) == []
    assert find_changes([]) == []


def test_what_is_not_a_number_is_passed_over() -> None:
    values = [*noise(20), float("nan"), *(0.3 + value for value in noise(6, 1))]
    (found,) = find_changes(history(values), material=0.02)
    assert found.by == BEGIN + 22 * DAY


SERIES = st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=40, unique=True)


@settings(deadline=None)
@given(SERIES)
def test_neither_unit_nor_zero_matters(values: list[float]) -> None:
    found = np.round(np.array(values), 3)
    assert chance_of_no_change(found * 8 + 1024) == pytest.approx(chance_of_no_change(found), abs=0.002)


@settings(deadline=None)
@given(SERIES)
def test_upside_down_it_is_as_significant(values: list[float]) -> None:
    assert chance_of_no_change(np.array(values)) == chance_of_no_change(-np.array(values))


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50)), max_size=40))
def test_chosen_windows_never_overlap_and_hold_the_latest(windows: list[tuple[int, int]]) -> None:
    points = [Point(BEGIN + begin * DAY, BEGIN + (begin + length) * DAY, 0.1) for begin, length in windows]
    chosen = apart(points)
    assert all(left.until <= right.since for left, right in itertools.pairwise(chosen))
    assert {point.until for point in chosen[-1:]} == {max(point.until for point in points)} if points else not chosen
