"""Lists packed into Arrow's buffers are what ``pyarrow.array`` makes of them, and cost no import of pandas."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.capture import assembly
from slipway.drift.capture.assembly import from_text, from_values
from slipway.drift.capture.lists import packed
from slipway.drift.schema import Column, arrow_type
from tests.unit.slipway.drift.capture.records import record

KINDS = ["double", "float", "long", "integer", "boolean", "string"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
WHOLE = st.integers(-9, 9) | st.sampled_from([2**24 + 1, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**400])
SINGLE: list[st.SearchStrategy[Any]] = [
    st.floats(),
    st.floats(width=32),
    WHOLE,
    st.booleans(),
    TEXTS,
    st.sampled_from(["NA", "", "1.5", "7", "true", "2013-04-01T00:00:00Z"]),
    st.lists(st.integers(), max_size=2),
]
#: Of one type, with gaps or without, as rows really are; and anything at all.
VALUES = st.one_of(
    *[st.lists(each, max_size=12) for each in SINGLE],
    *[st.lists(each | st.none(), max_size=12) for each in SINGLE],
    st.lists(st.one_of(st.none(), *SINGLE), max_size=12),
)


def slowly(make: Any, values: list[Any], column: Column) -> pa.Array:
    """What comes out when nothing is packed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "packed", lambda *_: None)
        found = make(values, column)
    assert isinstance(found, pa.Array)
    return found


def assert_same(fast: pa.Array, slow: pa.Array) -> None:
    fast.validate(full=True)
    assert fast.type == slow.type
    assert repr(fast.to_pylist()) == repr(slow.to_pylist()), "repr: NaN equals NaN, and -0.0 is not 0.0"


@settings(deadline=None)  # the slow way imports pandas
@given(VALUES, st.sampled_from(KINDS))
def test_json_values_become_what_pyarrow_makes_of_them(values: list[Any], kind: Any) -> None:
    column = Column("x", kind)
    assert_same(from_values(values, column), slowly(from_values, values, column))


@settings(deadline=None)
@given(VALUES)
def test_anything_in_a_column_of_times_becomes_an_array(values: list[Any]) -> None:
    found = from_values(values, Column("x", "datetime"))
    found.validate(full=True)
    assert len(found) == len(values)


@settings(deadline=None)
@given(st.lists(TEXTS | SINGLE[5], max_size=12), st.sampled_from(KINDS))
def test_csv_values_do_too(values: list[str], kind: Any) -> None:
    column = Column("x", kind)
    assert_same(from_text(values, column), slowly(from_text, values, column))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("double", [1.5, None, -0.0, float("inf")]),
        ("double", [1, 2]),
        ("float", [1.5, None]),
        ("long", [2**62, None, -1]),
        ("integer", [2**31 - 1, None]),
        ("boolean", [True, None, False] * 9),
        ("string", ["a", None, "", "é", "日本"]),
        ("string", []),
        ("long", [None, None]),
    ],
)
def test_lists_of_one_kind_are_packed(kind: Any, values: list[Any]) -> None:
    found = packed(values, Column("x", kind))
    assert found is not None
    found.validate(full=True)
    assert found.equals(pa.array(values, arrow_type(Column("x", kind))))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("double", ["1.5"]),
        ("double", [10**400]),
        ("float", [1]),
        ("long", [1.5]),
        ("long", [True, None]),
        ("long", [2**63, None]),
        ("integer", [2**31]),
        ("boolean", [1, None]),
        ("string", [1, None]),
    ],
)
def test_lists_of_others_are_not(kind: Any, values: list[Any]) -> None:
    assert packed(values, Column("x", kind)) is None


_READ = """
import io, sys
from slipway.drift.bins import BinSet, CategoryBins, NumericBins
from slipway.drift.capture.profiling import profile_captures
from slipway.drift.schema import Column, ModelSchema
kinds = ("double", "float", "long", "integer", "boolean", "string", "datetime")
names = [*kinds, "prediction"]
bins = {name: CategoryBins(("a",)) if name in {"boolean", "string"} else NumericBins((0.0, 1.0)) for name in names}
schema = ModelSchema(tuple(Column(kind, kind) for kind in kinds), (Column("prediction", "double"),))
profile, rejected = profile_captures(io.BytesIO(sys.stdin.buffer.read()), schema, BinSet(bins))
assert (profile.rows, rejected) == (6, []), rejected
assert all(column.rows == 6 for column in profile.columns.values())
assert "pandas" not in sys.modules
"""


def test_reading_and_profiling_ordinary_calls_does_without_pandas() -> None:
    rows = [[1.5, 2.5, 3, 4, True, "a", "2013-04-01T00:00:00"], [None] * 7]
    csv = "0.5,1,2,3,true,b,2013-04-01T00:00:00\n,,,,,,\n"
    lines = [
        record({"instances": rows}, {"predictions": [0.5, None]}),
        record(csv, {"predictions": [0.25, 1]}, media="text/csv", encoding="CSV"),
        record(csv.replace("b", '"b"'), {"predictions": [0.25, 1]}, media="text/csv", encoding="CSV"),
    ]
    command = [sys.executable, "-c", _READ]
    done = subprocess.run(command, input="\n".join(lines).encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
