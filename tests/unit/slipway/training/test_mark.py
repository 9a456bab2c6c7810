from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import InvalidInputError
from slipway.training.mark import Mark

EARLIEST, LATEST = datetime.fromisoformat("1900-01-01"), datetime.fromisoformat("9000-01-01")

values = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.text()
)


@given(values)
def test_a_mark_is_kept_as_json_without_loss(value):
    mark = Mark.from_document(Mark.of(value).to_document())
    assert mark.value == value
    assert type(mark.value) is type(value)


@given(st.datetimes(EARLIEST, LATEST), st.floats(0, 1e6), st.sampled_from(["T", " "]))
def test_no_time_within_the_allowance_lies_below_the_floor_also_as_text(moment, seconds, separator):
    earlier = moment - timedelta(seconds=seconds)
    for spec in ("auto", "seconds", "microseconds"):
        floor = Mark.of(moment.isoformat(separator, spec)).floor(seconds).value
        assert floor <= earlier.isoformat(separator, spec)
    assert Mark.of(moment).floor(seconds).value <= earlier + timedelta(microseconds=1)
    assert Mark.of(moment.date()).floor(seconds).value <= earlier.date()


def test_the_floor_is_in_units_of_the_column():
    assert Mark.of(100).floor(10.5).value == 89
    assert Mark.of(2.5).floor(1).value == 1.5
    assert Mark.of(Decimal("2.50")).floor(1).value == Decimal("1.50")
    assert Mark.of(date(2026, 3, 1)).floor(3600).value == date(2026, 2, 28)
    assert Mark.of("2026-03-01").floor(3600).value == "2026-02-28"
    assert Mark.of("2026-03-01T10:00").floor(60).value == "2026-03-01T09:59"
    assert Mark.of("2026-03-01 10:00:00+00:00").floor(60).value == "2026-03-01 09:59:00"
    assert Mark.of("order-7").floor(3600).value == "order-7"
    assert Mark.of("2026-13-01").floor(3600).value == "2026-13-01"


@pytest.mark.parametrize("value", [True, b"x", [1]])
def test_what_does_not_grow_is_refused(value):
    with pytest.raises(InvalidInputError, match="expected numbers, times, dates or texts"):
        Mark.of(value)
