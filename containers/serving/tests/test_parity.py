"""What the original is asked in company counts only as far as it says the same of each row alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from slipway_serving.convert.parity import Parity, compare
from slipway_serving.convert.probes import Probes, make_probes
from slipway_serving.message import CSV, Request, RequestError, Response

Predict = Callable[[list[list[Any]]], list[float]]
ROWS = [[float(at), f"text {at}"] for at in range(120)]


class Engine:
    """Answers by a function of all rows of a request."""

    name, fallbacks = "test", 0

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self.asked: list[int] = []

    def answer(self, request: Request) -> Response:
        if request.content_type == CSV:
            lines = request.body.decode().split()[1:]
            rows: list[list[Any]] = [[float(number), text] for number, text in (line.split(",") for line in lines)]
        else:
            rows = json.loads(request.body)["dataframe_split"]["data"]
        self.asked.append(len(rows))
        return Response(200, json.dumps({"predictions": self._predict(rows)}).encode())

    answer_covered = answer

    def answer_at_once(self, request: Request) -> None:
        return None


def plain(rows: list[list[Any]]) -> list[float]:
    return [2.0 * row[0] for row in rows]


def compared(original: Predict, compiled: Predict) -> tuple[Parity, list[int]]:
    engine = Engine(original)
    parity = compare(engine, Engine(compiled), Probes(["x", "text"], [[0.5, "a"]], [[7.5, "b"]], ROWS))  # type: ignore[arg-type]
    return parity, engine.asked


def test_rows_in_company_are_compared_one_and_all_with_few_requests():
    parity, asked = compared(plain, plain)
    assert (parity.mismatch, parity.refused) == ("", 0)
    assert parity.rows == len(ROWS) + 4  # an ordinary row in bulk, alone and as CSV, and one with something unusual
    assert [count for count in asked if count > 1] == [50, 50, 20]
    assert len(asked) == 4 + 3 + 12


@pytest.mark.parametrize("wrong", [0, 3, 10, 49, 50, 119])
def test_one_wrong_row_is_found_and_named(wrong: int):
    parity, _ = compared(plain, lambda rows: [2.0 * row[0] + 1e-6 * (row == ROWS[wrong]) for row in rows])
    assert json.dumps([ROWS[wrong]]) in parity.mismatch


def refuse(rows: list[list[Any]]) -> list[float]:
    if any(row[0] in {4.0, 5.0, 77.0} for row in rows):
        raise RequestError("no such number")
    return plain(rows)


def test_a_row_that_is_refused_fails_no_other():
    parity, _ = compared(refuse, refuse)
    assert (parity.mismatch, parity.refused, parity.rows) == ("", 3, len(ROWS) + 1)
    assert "expected 400" in compared(refuse, plain)[0].mismatch
    assert "found 400" in compared(plain, refuse)[0].mismatch


def test_a_row_that_is_left_out_shifts_no_other():
    def skip(rows: list[list[Any]]) -> list[float]:
        return plain([row for row in rows if row[0] not in {6.0, 60.0}])

    assert compared(skip, skip)[0].passed
    assert "expected []" in compared(skip, plain)[0].mismatch


def test_an_original_that_heeds_the_company_is_asked_about_each_row_alone():
    def centre(rows: list[list[Any]]) -> list[float]:
        return [row[0] - sum(other[0] for other in rows) / len(rows) for row in rows]

    parity, asked = compared(centre, centre)
    assert parity.passed
    assert asked.count(1) > len(ROWS)
    assert "expected [0.0]" in compared(centre, plain)[0].mismatch


def test_what_the_original_says_in_company_only_is_no_proof():
    def more(rows: list[list[Any]]) -> list[float]:
        return [2.0 * row[0] + (len(rows) > 1 or row not in ROWS) for row in rows]

    def always_more(rows: list[list[Any]]) -> list[float]:
        return [2.0 * row[0] + 1.0 for row in rows]

    assert "expected [0.0], found [1.0]" in compared(more, always_more)[0].mismatch


def test_only_values_of_their_column_s_own_type_are_asked_in_company():
    columns = [("a", "double"), ("b", "float"), ("c", "long"), ("d", "string"), ("e", "boolean")]
    probes = make_probes(columns, [[1.0, 2.0, 3, "x", True]], {}, {})
    for row in probes.in_company:
        assert [type(value) for value in row] == [float, float, int, str, bool]
        assert max(map(abs, row[:2])) < 3.41e38
    assert len(probes.in_company) >= 30
    left_alone = {row[0] for row in probes.alone}
    assert {None, float("inf"), float("-inf"), 3.5e38, 1e300} <= left_alone
    assert sum(row[3] is None for row in probes.alone) >= 1
