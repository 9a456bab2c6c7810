from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from slipway.canary.window import closed_window

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def test_the_period_in_which_the_step_began_is_left_out():
    window = closed_window(
        NOON + timedelta(seconds=1), NOON + timedelta(seconds=300), period_seconds=60, settle_seconds=0
    )
    assert (window.start, window.periods) == (NOON + timedelta(seconds=60), 4)


def test_the_newest_periods_wait_until_they_have_settled():
    window = closed_window(NOON, NOON + timedelta(seconds=300), period_seconds=60, settle_seconds=120)
    assert window.end == NOON + timedelta(seconds=180)


@given(st.floats(0, 10**6), st.floats(0, 10**6), st.sampled_from([10, 60, 300]), st.integers(0, 600))
def test_a_window_never_leaves_the_step_nor_the_settled_past(offset, elapsed, period_seconds, settle_seconds):
    began = NOON + timedelta(seconds=offset)
    now = began + timedelta(seconds=elapsed)
    window = closed_window(began, now, period_seconds=period_seconds, settle_seconds=settle_seconds)
    assert window.periods >= 0
    assert window.start >= began
    if window.periods:
        assert window.end <= now - timedelta(seconds=settle_seconds)
