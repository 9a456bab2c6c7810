from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.drift.capture.calls import CapturedCall, read_calls
from slipway.endpoints.probe import PROBE_ID
from tests.unit.slipway.drift.capture.records import AT, record, stream

AT_SECONDS = 1364810400.0
TWO = {"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}


def calls(*lines: str | bytes) -> list[CapturedCall]:
    return list(read_calls(stream(*lines)))


@pytest.mark.parametrize(
    ("answer", "usable", "number"),
    [
        ({"predictions": [0.5, 0.25]}, True, 0.5),
        ({"predictions": [[0.2, 0.8], [0.4, 0.6]]}, True, 0.8),
        ({"predictions": ["yes", "no"]}, True, None),
        ({"predictions": [True, False]}, True, None),
        ([1, 2], True, 1.0),
        ({"predictions": [0.5]}, False, 0.5),
        ({"predictions": [0.5, 0.2, 0.1]}, False, 0.5),
        ({"predictions": [None, 0.2]}, False, None),
        ({"predictions": [0.5, [0.1, None]]}, False, 0.5),
        ('{"predictions": [NaN, 0.2]}', False, None),
        ({"predictions": []}, False, None),
        ({"error": "no such column"}, False, None),
        ("Internal error", False, None),
    ],
)
def test_an_answer_is_usable_when_it_has_a_value_for_each_row(answer: Any, usable: bool, number: float | None) -> None:
    assert calls(record(TWO, answer)) == [CapturedCall(AT_SECONDS, usable, number)]


@pytest.mark.parametrize(("answers", "usable"), [(1, True), (2, True), (3, False), (0, False)])
def test_the_first_line_of_csv_is_a_row_or_a_header(answers: int, usable: bool) -> None:
    (call,) = calls(record("a\n3.0\n", {"predictions": [1.0] * answers}, media="text/csv", encoding="CSV"))
    assert call.usable is usable


def test_a_request_whose_form_is_unknown_is_not_held_against_the_answer() -> None:
    (call,) = calls(record(b"\x93NUMPY\xff", {"predictions": [1.0]}, media="application/x-npy", encoding="BASE64"))
    assert call.usable


def test_probes_and_what_is_no_call_are_left_out() -> None:
    only_input = record(TWO)
    no_time = json.loads(record(TWO, [1, 2]))
    del no_time["eventMetadata"]["inferenceTime"]
    broken = [b"{", b"[]", b"\xff", only_input, json.dumps(no_time), record(TWO, [1, 2], at="yesterday")]
    assert calls(*broken, record(TWO, [1, 2], inference_id=PROBE_ID)) == []
    assert len(calls(*broken, record(TWO, [1, 2], inference_id="mine"))) == 1


def test_a_time_without_zone_is_utc() -> None:
    assert calls(record(TWO, [1, 2], at=AT.removesuffix("Z")))[0].at == AT_SECONDS
