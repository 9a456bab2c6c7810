"""Which outcome belongs to which call."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.quality.join import join_labels, make_keys

KEYS = st.sampled_from(["a", "b", "c", None])
EVENTS = st.lists(st.tuples(KEYS, st.integers(0, 30)), max_size=25)


def joined(calls: list[tuple[str | None, int]], labels: list[tuple[str | None, int]], **how: object) -> list[int]:
    def split(events: list[tuple[str | None, int]]) -> tuple[pa.Array, np.ndarray]:
        return pa.array([key for key, _ in events], pa.string()), np.array([at for _, at in events], dtype=np.int64)

    found = join_labels(*split(calls), *split(labels), **{"tolerance": 10, "exact": False, **how})  # type: ignore[arg-type]
    return found.tolist()


def by_hand(calls: list[tuple[str | None, int]], labels: list[tuple[str | None, int]], *, exact: bool) -> list[int]:
    """The rule, word for word."""
    found = [-1] * len(calls)
    for _, index in sorted((at, index) for index, (_, at) in enumerate(labels)):
        key, at = labels[index]
        candidates = [
            (called, number) for number, (name, called) in enumerate(calls) if name == key and (exact or called <= at)
        ]
        if key is None or not candidates:
            continue
        called, number = max(candidates)
        if at - called <= 10:
            found[number] = index
    return found


@given(EVENTS, EVENTS)
def test_a_key_meets_the_latest_call_before_it(
    calls: list[tuple[str | None, int]], labels: list[tuple[str | None, int]]
) -> None:
    assert joined(calls, labels) == by_hand(calls, labels, exact=False)


@given(EVENTS, EVENTS)
def test_an_id_meets_its_call_whatever_the_clocks_say(
    calls: list[tuple[str | None, int]], labels: list[tuple[str | None, int]]
) -> None:
    assert joined(calls, labels, exact=True) == by_hand(calls, labels, exact=True)


def test_a_correction_counts_and_what_comes_too_late_does_not() -> None:
    assert joined([("a", 0), ("b", 0), ("c", 5)], [("a", 3), ("a", 4), ("b", 11), ("c", 1)]) == [1, -1, -1]


def test_outcomes_that_come_in_parts_leave_the_rest_open() -> None:
    assert joined([("a", 0), ("b", 0)], [("b", 1)]) == [-1, 0]
    assert joined([("a", 0)], []) == [-1]
    assert joined([], [("a", 0)]) == []


def test_keys_of_several_columns_meet_across_types() -> None:
    left = make_keys([pa.array([7.0, 8.0, None]), pa.array(["x", "y", "z"])])
    right = make_keys([pa.array([7, 8, 9]), pa.array(["x", None, "z"])])
    assert left.to_pylist()[0] == right.to_pylist()[0]
    assert left.to_pylist()[2] is None
    assert right.to_pylist()[1] is None
