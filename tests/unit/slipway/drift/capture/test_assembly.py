"""Rows to arrays: the fast way for CSV gives what the slow one gives."""

from __future__ import annotations

import math

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.capture.assembly import input_arrays
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
