"""Time on hold: from what the state has, at any moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.canary.patience import Hold, seconds_on_hold

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
minutes = st.integers(0, 120)
spans = st.lists(st.tuples(minutes, minutes), max_size=6)


def at(minute: float) -> datetime:
    return BEGAN + timedelta(minutes=minute)


def hold(began: float, ended: float | None = None) -> Hold:
    return Hold(by="ann", began_at=at(began), ended_at=None if ended is None else at(ended))


@pytest.mark.parametrize(
    ("holds", "expected_minutes"),
    [
        ([], 0),
        ([hold(10, 30)], 20),
        ([hold(10)], 50),
        ([hold(-10, 5)], 5),
        ([hold(50, 90)], 10),
        ([hold(70, 90)], 0),
        ([hold(30, 10)], 0),
        ([hold(40, 50), hold(10, 30)], 30),
        ([hold(10, 30), hold(20, 40)], 30),
        ([hold(10, 50), hold(20, 30)], 40),
    ],
    ids=["none", "over", "goes on", "before", "until after", "later", "clocks", "order", "overlap", "within"],
)
def test_only_time_on_hold_within_the_hour_counts(holds: list[Hold], expected_minutes: float) -> None:
    assert seconds_on_hold(holds, at(0), at(60)) == expected_minutes * 60


@given(spans, st.tuples(minutes, minutes, minutes).map(sorted))
def test_parts_of_a_time_add_up_and_agree_with_counting_minutes(
    spans: list[tuple[int, int]], moments: list[int]
) -> None:
    holds = [hold(began, ended) for began, ended in spans]
    first, middle, last = moments
    whole = seconds_on_hold(holds, at(first), at(last))
    parts = seconds_on_hold(holds, at(first), at(middle)) + seconds_on_hold(holds, at(middle), at(last))
    counted = sum(any(began <= minute < ended for began, ended in spans) for minute in range(first, last))
    assert whole == parts == counted * 60
