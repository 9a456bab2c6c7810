from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.artifacts.confined.derivation import derive, extended_tensor, finite, is_table, table_of

KINDS = ["double", "float", "long", "integer", "boolean", "string", "datetime"]


def column(kind: str | None, *, required: bool = True, name: str = "c") -> dict:
    return {"name": name, "type": kind, "required": required}


@pytest.mark.parametrize(
    "example",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}},
        {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]},
        {"columns": ["a", "b"], "index": [7, 8], "data": [[1, "x"], [2, "y"]]},
        {"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
        {"inputs": {"a": [1, 2], "b": ["x", "y"]}},
        {"instances": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]},
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        [[1, "x"], [2, "y"]],
    ],
)
def test_every_form_of_an_example_gives_the_same_table(example: object) -> None:
    assert table_of(example, ["a", "b"]) == (["a", "b"], [[1, "x"], [2, "y"]])


def test_one_row_as_an_object_and_what_is_no_table() -> None:
    assert table_of({"a": 1, "b": "x"}, ["a", "b"]) == (["a", "b"], [[1, "x"]])
    assert table_of(None, ["a"]) == (["a"], [])
    assert table_of([[1, 2, 3]], ["a"]) == (["a"], [])
    assert is_table({"dataframe_split": {}})
    assert not is_table({"inputs": [[1.0]]})


@given(st.data(), st.sampled_from(KINDS), st.booleans(), st.integers(0, 2**32))
def test_derived_values_have_the_signatures_type(data: st.DataObject, kind: str, required: bool, seed: int) -> None:
    pools = {
        "double": st.floats(-1e9, 1e9), "float": st.floats(-1e9, 1e9), "long": st.integers(-(2**53), 2**53),
        "integer": st.integers(-(2**31), 2**31 - 1), "boolean": st.booleans(), "string": st.text(),
        "datetime": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(datetime.isoformat),  # noqa: DTZ001
    }  # fmt: skip
    given_rows = data.draw(st.lists(pools[kind].map(lambda value: [value]), max_size=3))
    rows = derive([column(kind, required=required)], given_rows, len(given_rows) + 5, seed)
    assert len(rows) <= 5
    assert len({json.dumps(row) for row in rows}) == len(rows)
    assert json.loads(json.dumps(rows)) == rows
    assert rows == derive([column(kind, required=required)], given_rows, len(given_rows) + 5, seed)
    for (value,) in rows:
        if value is None:
            assert not required
        elif kind in ("double", "float"):
            assert isinstance(value, float)
        elif kind in ("long", "integer"):
            assert isinstance(value, int)
            assert abs(value) <= (2**53 if kind == "long" else 2**31)
        elif kind == "boolean":
            assert isinstance(value, bool)
        elif kind == "datetime":
            datetime.fromisoformat(value)
        else:
            assert given_rows == []  # the only texts there are have been given already


def test_nulls_come_only_where_the_signature_allows_them() -> None:
    columns = [column("double"), column("double", required=False)]
    rows = derive(columns, [[1.0, 2.0]], 200, seed=1)
    assert all(first is not None for first, _ in rows)
    assert 5 < sum(second is None for _, second in rows) < 50


def test_counts_stay_counts_and_negative_examples_allow_negative_values() -> None:
    assert all(value >= 0 for (value,) in derive([column("long")], [[0], [30]], 20, seed=1))
    assert any(value < 0 for (value,) in derive([column("long")], [[-5], [3]], 20, seed=1))


def test_nested_values_come_from_the_example_and_cannot_be_invented() -> None:
    columns = [column("array"), column("double")]
    rows = derive(columns, [[[1, 2], 0.5], [[3], 1.5]], 9, seed=1)
    assert len(rows) == 7
    assert all(row[0] in ([1, 2], [3]) for row in rows)
    assert derive(columns, [], 3, seed=1) == []
    assert derive([column("array", required=False)], [], 2, seed=1) == [[None]]


def test_no_row_is_derived_twice() -> None:
    assert derive([column("boolean")], [[True]], 50, seed=1) == [[False]]


def test_tensors_are_extended_near_their_items_and_codes_left_alone() -> None:
    items = extended_tensor([[1.0, 2.0]], {"seed": 1, "max_rows": 4})
    assert items[0] == [1.0, 2.0]
    assert len(items) == 4
    assert all(len(item) == 2 and isinstance(item[0], float) for item in items)
    assert extended_tensor([[1, 2]], {"seed": 1, "max_rows": 4}) == [[1, 2]]
    assert extended_tensor(["text"], {"seed": 1, "max_rows": 4}) == ["text"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(deadline=None)
@given(_JSON)
def test_finite_values_are_strict_json_and_otherwise_unchanged(value: object) -> None:
    text = json.dumps(finite(value), allow_nan=False)
    if "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value):
        assert json.loads(text) == json.loads(json.dumps(value))
