"""Answers are compared exactly, floats to 1e-9, and every difference is named."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.endpoints.comparison import Answer, compare_answer


def answer(predictions: Any, status: int = 200, content_type: str = "application/json") -> Answer:
    return Answer(status, content_type, json.dumps({"predictions": predictions}).encode(), 0.001)


def mismatches(expected: Any, found: Any) -> list[Any]:
    return compare_answer("JSON", expected, answer(found))[1]


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = numbers | st.text(max_size=5) | st.booleans() | st.none()
answers = st.lists(values, min_size=1, max_size=6) | st.lists(
    st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3), min_size=1, max_size=4
)


@given(expected=answers)
def test_the_same_answers_pass(expected: Any) -> None:
    result, found = compare_answer("CSV", expected, answer(copy.deepcopy(expected)))
    assert found == []
    assert result.passed
    assert (result.form, result.rows, result.result) == ("CSV", len(expected), f"{len(expected)} rows, 0 mismatches")


@given(expected=st.lists(st.integers() | st.floats(-1e300, 1e300), min_size=1, max_size=8), data=st.data())
def test_one_changed_number_is_found_with_its_row(expected: list[float], data: Any) -> None:
    row = data.draw(st.integers(0, len(expected) - 1))
    found = list(expected)
    found[row] = expected[row] * (1 + 1e-6) + 1e-6
    if abs(found[row] - expected[row]) <= max(1e-9 * abs(expected[row]), 1e-12):
        return  # so large an integer that the change is lost in the conversion to float
    (mismatch,) = mismatches(expected, found)
    assert (mismatch.row, mismatch.field) == (row, "")
    assert (mismatch.expected, mismatch.found) == (expected[row], found[row])


@given(value=st.floats(-1e300, 1e300), error=st.floats(-1, 1))
def test_the_tolerance_of_floats(value: float, error: float) -> None:
    within = value * (1 + error * 0.9e-9)
    beyond = value * (1 + math.copysign(2e-9, error)) + math.copysign(2e-12, error * value)
    assert mismatches([value], [within]) == []
    assert len(mismatches([value], [beyond])) == 1


@pytest.mark.parametrize(
    ("expected", "found", "field"),
    [
        ([1], [2], ""),
        ([1], [1.0000000001], ""),  # an integer is exact
        ([10**17], [10**17 + 1], ""),
        (["on time"], ["late"], ""),
        ([True], [1], ""),
        ([1], [True], ""),
        ([0.0], [1e-9], ""),
        ([0.5], ["0.5"], ""),
        ([0.5], [None], ""),
        ([None], [0.5], ""),
        ([[0.1, 0.9]], [[0.1, 0.8]], "1"),
        ([{"p": 0.1, "label": "a"}], [{"p": 0.2, "label": "a"}], "p"),
        ([{"p": 0.1}], [{"p": 0.1, "q": 1}], "q"),
        ([{"p": 0.1}], [{}], "p"),
        ([[1, 2]], [[1, 2, 3]], "length"),
        ([[1]], [1], ""),
    ],
)
def test_what_is_not_equal(expected: Any, found: Any, field: str) -> None:
    (mismatch,) = mismatches(expected, found)
    assert (mismatch.form, mismatch.row, mismatch.field) == ("JSON", 0, field)


@pytest.mark.parametrize(("expected", "found"), [([1], [1.0]), ([1.0], [1]), ([0.0], [1e-13]), ([0.1], [0.1 + 1e-17])])
def test_what_is_equal(expected: Any, found: Any) -> None:
    assert mismatches(expected, found) == []


@pytest.mark.parametrize("token", ["null", "NaN", "Infinity", "-Infinity"])
def test_a_missing_number_equals_null_however_it_is_spelt(token: str) -> None:
    body = f'{{"predictions": [{token}]}}'.encode()
    assert compare_answer("JSON", [None], Answer(200, "application/json", body, 0.1))[1] == []
    (mismatch,) = compare_answer("JSON", [0.5], Answer(200, "application/json", body, 0.1))[1]
    assert json.loads(mismatch.model_dump_json())["found"] in {None, "nan", "inf", "-inf"}


def test_missing_and_additional_rows_are_named() -> None:
    (mismatch,) = mismatches([1, 2, 3], [1, 2])
    assert (mismatch.row, mismatch.field, mismatch.expected, mismatch.found) == (None, "length", 3, 2)
    assert len(mismatches([1, 2], [1, 3, 4])) == 2


def test_named_outputs() -> None:
    assert mismatches({"a": [1, 2]}, {"a": [1, 2]}) == []
    (mismatch,) = mismatches({"a": [1, 2]}, {"a": [1, 3]})
    assert (mismatch.row, mismatch.field) == (None, "a.1")


@pytest.mark.parametrize(
    ("given_answer", "problem"),
    [
        (answer([1], status=500), "status 500: "),
        (Answer(400, "text/plain", b"missing  column\n'a'" + b"x" * 1000, 0.1), "status 400: missing column 'a'x"),
        (answer([1], content_type="text/html"), "content type 'text/html', expected application/json"),
        (Answer(200, "application/json", b"{", 0.1), "not JSON"),
        (Answer(200, "application/json", b"[1]", 0.1), "no 'predictions'"),
        (Answer(200, "application/json", b"\xff\xfe", 0.1), "not JSON"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_a_problem(given_answer: Answer, problem: str) -> None:
    result, found = compare_answer("JSON", [1], given_answer)
    assert problem in result.problem
    assert not result.passed
    assert found == []
    assert len(result.problem) < 400


def test_charset_in_the_content_type_is_fine() -> None:
    assert compare_answer("JSON", [1], answer([1], content_type="application/json; charset=utf-8"))[0].passed


def test_an_answer_without_rows_proves_nothing() -> None:
    assert not compare_answer("JSON", [], answer([]))[0].passed


def test_long_values_are_cut_in_the_report() -> None:
    (mismatch,) = mismatches(["x"], ["y" * 100_000])
    assert len(mismatch.found) < 400
