"""Rows to arrays: the fast way for CSV gives what the slow one gives."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.bins import BinSet, NumericBins
from slipway.drift.capture.assembly import from_text, from_values, input_arrays
from slipway.drift.profile import NumericProfile
from slipway.drift.profiling import finite_numbers, profile_batch
from slipway.drift.schema import Column, ModelSchema

SCHEMA = ModelSchema(
    inputs=(
        Column("x", "double"),
        Column("n", "long"),
        Column("f", "float"),
        Column("b", "boolean"),
        Column("c", "string"),
        Column("t", "datetime"),
    )
)
NAMES = tuple(column.name for column in SCHEMA.inputs)
CELLS = [
    st.sampled_from(["1.5", "-2", "1e300", "inf", "", "NA", "nan", "word"]),
    st.sampled_from(["7", "-2", "", "null", "1.5", "99999999999999999999"]),
    st.sampled_from(["0.5", "3", ""]),
    st.sampled_from(["true", "false", "1", "0", "", "maybe"]),
    st.sampled_from(["a", "é", "", "N/A", "1", "true"]),
    st.sampled_from(["2013-04-01T00:00:00", "2013-04-01T00:00:00Z", "", "soon"]),
]


def plain(arrays: dict[str, pa.Array]) -> dict[str, list[object]]:
    """Values that compare, whatever type holds them; NaN equals NaN."""

    def value(item: object) -> object:
        return "NaN" if isinstance(item, float) and math.isnan(item) else item

    return {name: [value(item) for item in array.to_pylist()] for name, array in arrays.items()}


@given(st.lists(st.tuples(*CELLS), min_size=1, max_size=8), st.permutations(range(len(NAMES))))
def test_lines_parsed_by_arrow_are_the_values_split_by_hand(rows: list[tuple[str, ...]], order: list[int]) -> None:
    names = tuple(NAMES[index] for index in order)
    split = [[row[index] for index in order] for row in rows]
    fast = input_arrays(SCHEMA, names, [",".join(row) for row in split], text=True, raw=True)
    slow = input_arrays(SCHEMA, names, split, text=True)
    assert plain(fast) == plain(slow)


@given(st.lists(st.tuples(CELLS[0], CELLS[4]), min_size=1, max_size=8))
def test_columns_of_nobodys_and_columns_twice_do_no_harm(rows: list[tuple[str, ...]]) -> None:
    lines = [",".join([*row, "x", row[0]]) for row in rows]
    for names in (("x", "c", "other", "more"), ("x", "c", "other", "x")):
        fast = input_arrays(SCHEMA, names, lines, text=True, raw=True)
        slow = input_arrays(SCHEMA, names, [line.split(",") for line in lines], text=True)
        assert plain(fast) == plain(slow)


def test_an_empty_line_of_one_column_is_a_missing_value() -> None:
    schema = ModelSchema(inputs=(Column("x", "double"),))
    assert plain(input_arrays(schema, ("x",), ["1", "NA", "2"], text=True, raw=True)) == {"x": [1.0, None, 2.0]}


TIME = Column("t", "datetime")
ISO = "2026-01-01T00:00:00"
SECONDS = 1767225600.0


def counted(values: list[object]) -> tuple[list[float], int, int]:
    """Numbers, missing and mismatched values, as a profile sees them."""
    found = from_values(values, TIME)
    profile = profile_batch(pa.record_batch({"t": found}), BinSet({"t": NumericBins(())})).columns["t"]
    assert isinstance(profile, NumericProfile)
    return sorted(finite_numbers(found).tolist()), profile.missing, profile.mismatched


@pytest.mark.parametrize(
    ("odd", "seconds"),
    [
        ("20260101", SECONDS),
        ("2026-01-01", SECONDS),
        ("2026-01-01T00:00:00.123456789", SECONDS + 0.123456),
        ("2026-01-01T02:00:00+02:00", SECONDS),
        ("2026-01-01T00:00:00Z", SECONDS),
        (1767225600123, SECONDS + 0.123),
        ("soon", None),
        ("1767225600000", None),
        (1767225600.5, None),
        (True, None),
        ({"a": 1}, None),
        (2**62, None),
        (10**30, None),
        ("", None),
        ("9999999-01-01", None),
    ],
)
def test_an_odd_time_is_read_or_counted_and_spoils_no_other(odd: object, seconds: float | None) -> None:
    numbers, missing, mismatched = counted([ISO, None, ISO, odd, ISO])
    assert numbers == sorted([SECONDS] * 3 + ([] if seconds is None else [seconds]))
    assert (missing, mismatched) == (1, int(seconds is None))


def test_times_of_nanoseconds_are_times() -> None:
    found = from_values(["2026-01-01T00:00:00.123456789", None], TIME)
    assert found.type == pa.timestamp("us")
    assert from_text(["2026-01-01T00:00:00.123456789", "NA"], TIME).equals(found)


ODD = st.sampled_from([ISO, "20260101", "2026-01-01T00:00:00.123456789", 1767225600123, None, "soon", "12", 1.5, True])


@given(st.lists(ODD | st.integers() | st.text(max_size=12) | st.datetimes().map(str), max_size=8))
@settings(deadline=None)
def test_what_a_time_counts_as_does_not_depend_on_the_others(values: list[object]) -> None:
    alone = [counted([value]) for value in values]
    numbers = sorted(number for each in alone for number in each[0])
    assert counted(values) == (numbers, sum(each[1] for each in alone), sum(each[2] for each in alone))
