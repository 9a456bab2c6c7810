from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_trainer.job import Window
from slipway_trainer.problem import BadDataError
from slipway_trainer.split import ArrayTimes, find_bounds, guard, microseconds

HOUR = 3_600_000_000


@given(st.lists(st.integers(0, 40), min_size=4, max_size=60), st.floats(1, 50))
def test_every_training_row_is_older_than_every_held_out_row(hours, holdout_pct):
    times = np.array(hours, dtype=np.int64) * HOUR
    try:
        bounds = find_bounds(ArrayTimes(times), Window(), holdout_pct)
    except BadDataError:
        # Only when the oldest moment reaches up to the cutoff is there nothing older to train on.
        assert np.mean(times == times.min()) > 1 - holdout_pct / 100 - 1 / len(times)
        return
    train, holdout = times[times < bounds.cutoff], times[times >= bounds.cutoff]
    assert len(train) + len(holdout) == len(times)
    assert len(holdout) >= int(len(times) * holdout_pct / 100)
    guard(int(train.max()), int(holdout.min()))


def test_the_window_ends_before_until_and_begins_at_since():
    times = np.arange(100, dtype=np.int64) * HOUR
    window = Window(since="1970-01-01T10:00:00+00:00", until="1970-01-02T00:00:00+00:00")
    bounds = find_bounds(ArrayTimes(times), window, 50)
    assert (bounds.first, bounds.cutoff, bounds.last) == (10 * HOUR, 17 * HOUR, 24 * HOUR - 1)


def test_days_count_from_the_newest_row_not_from_today():
    times = np.arange(24 * 10, dtype=np.int64) * HOUR
    bounds = find_bounds(ArrayTimes(times), Window(days=2), 25)
    assert np.sum(times >= bounds.first) == 48


def test_an_empty_window_says_what_there_is():
    with pytest.raises(BadDataError, match="there are rows from 1970-01-01 00:00:00 to 1970-01-01 09:00:00"):
        find_bounds(ArrayTimes(np.arange(10) * HOUR), Window(since="2024-01-01T00:00:00"), 20)


def test_the_guard_refuses_equal_times():
    with pytest.raises(BadDataError, match="leakage"):
        guard(5, 5)


def test_a_time_without_a_zone_is_utc():
    assert microseconds("1970-01-01T02:00:00+02:00") == 0
    assert microseconds("1970-01-01T00:00:01") == 1_000_000
