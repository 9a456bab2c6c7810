"""Calls of a window, later calls with their keys, and outcomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.capture.reader import CaptureBatch, CaptureCounts, read_captures
from slipway.drift.quality.measure import WHOLE, measure
from slipway.drift.schema import Column, ModelSchema
from tests.unit.slipway.drift.capture.records import record, stream
from tests.unit.slipway.drift.quality.test_report import policy

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = ModelSchema((Column("k", "string"),), (Column("prediction", "double"),))
WAIT = 72
KEYED = policy(task="regression", key=("k",), wait=timedelta(hours=WAIT), expect=())
Events = list[tuple[str, int]]


def batches(calls: Events, answer: float = 0.0) -> list[CaptureBatch]:
    lines = [
        record(
            {"dataframe_split": {"columns": ["k"], "data": [[key]]}},
            {"predictions": [answer]},
            at=(BEGIN + timedelta(hours=hour)).isoformat(),
        )
        for key, hour in calls
    ]
    return list(read_captures(stream(*lines), SCHEMA, CaptureCounts(), events=True)) if lines else []


def outcomes(found: list[tuple[str, int, float]]) -> pa.Table:
    times = [int((BEGIN + timedelta(hours=hour)).timestamp() * 1e6) for _, hour, _ in found]
    keys, labels = [key for key, _, _ in found], [label for _, _, label in found]
    return pa.table({"key": keys, "time": pa.array(times, pa.int64()), "label": pa.array(labels, pa.float64())})


def error(calls: Events, later: Events, labels: list[tuple[str, int, float]]) -> dict[str, Any]:
    whole = measure(batches(calls), outcomes(labels), SCHEMA, KEYED, batches(later))[WHOLE]
    return {"calls": whole.calls, "rows": whole.rows, "error": whole.sums.get("error", 0.0)}


def test_the_outcome_of_a_call_after_the_window_is_not_the_windows() -> None:
    labels = [("k", 6, 0.0), ("k", 54, 1.0)]
    assert error([("k", 0)], [("k", 48)], labels) == {"calls": 1, "rows": 1, "error": 0.0}
    assert error([("k", 0)], [("other", 48)], labels) == {"calls": 1, "rows": 1, "error": -1.0}, "a correction"
    assert error([("k", 0)], [("k", 48)], labels[1:]) == {"calls": 1, "rows": 0, "error": 0.0}


EVENTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30)), min_size=1, max_size=8, unique=True)


@settings(deadline=None, max_examples=50)
@given(EVENTS, EVENTS, st.data())
def test_each_outcome_goes_to_the_latest_call_before_it_whichever_window_that_is_in(
    calls: Events, later: Events, data: st.DataObject
) -> None:
    later = [(key, hour + 31) for key, hour in later]
    drawn = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 61)), max_size=8, unique=True)
    labels = [(key, hour, float(number + 1)) for number, (key, hour) in enumerate(data.draw(drawn))]
    expected: dict[tuple[str, int], tuple[int, float]] = {}
    for key, hour, label in labels:
        before = [at for other, at in [*calls, *later] if other == key and at <= hour and hour - at <= WAIT]
        if before and max(before) <= 30:
            expected[key, max(before)] = max(expected.get((key, max(before)), (-1, 0.0)), (hour, label))
    whole = measure(batches(calls), outcomes(labels), SCHEMA, KEYED, batches(later))[WHOLE]
    assert (whole.calls, whole.rows) == (len(calls), len(expected))
    assert np.isclose(whole.sums.get("error", 0.0), -sum(label for _, label in expected.values()))


def test_later_calls_are_not_read_when_no_outcome_came_after_the_window() -> None:
    class Unread:
        def __iter__(self) -> Any:
            raise AssertionError("nothing to look for")

    found = measure(batches([("k", 0)]), outcomes([]), SCHEMA, KEYED, Unread())
    assert found[WHOLE].calls == 1
