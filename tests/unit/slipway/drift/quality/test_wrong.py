"""Which answers are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.drift.quality.tally import count_binary
from slipway.drift.quality.wrong import comparable, wrong_answers


def found(answers: list[Any], outcomes: list[Any], task: Any, tolerance: float | None = None) -> list[Any]:
    """True and False for rows that can be compared, None for the others."""
    said, true = comparable(pa.array(answers), task), comparable(pa.array(outcomes), task)
    known, wrong = wrong_answers(said, true, task, tolerance)
    return [bool(w) if k else None for k, w in zip(known, wrong, strict=True)]


@pytest.mark.parametrize(
    ("task", "tolerance", "answers", "outcomes", "expected"),
    [
        ("binary", None, [0.7, 0.2, 0.5, 0.49], [1, 1, 0, 0], [False, True, True, False]),
        ("binary", None, [0.7, None, float("nan"), 0.7], [True, True, False, None], [False, None, None, None]),
        ("binary", None, [0.7, 0.7], [2, 0.5], [None, None]),
        ("multiclass", None, ["a", "b", None, "c"], ["a", "a", "a", None], [False, True, None, None]),
        ("multiclass", None, [1.0, 2.0], ["1", "1"], [False, True]),
        ("regression", 0.5, [10.0, 10.0, 10.0, None], [10.5, 10.6, 9.0, 1.0], [False, True, True, None]),
        ("regression", 0.0, [1.0, 1.0], [1, 2], [False, True]),
    ],
)
def test_an_answer_is_held_against_its_outcome(
    task: str, tolerance: float | None, answers: list[Any], outcomes: list[Any], expected: list[Any]
) -> None:
    assert found(answers, outcomes, task, tolerance) == expected


def test_nothing_is_neither_right_nor_wrong() -> None:
    for task in ("binary", "multiclass", "regression"):
        assert found([], [], task) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=50))
def test_wrong_binary_answers_are_those_that_accuracy_misses(rows: list[tuple[float, int]]) -> None:
    scores, outcomes = (list(column) for column in zip(*rows, strict=True))
    tally = count_binary(np.array(scores), np.array(outcomes, dtype=float), len(rows))
    assert sum(found(scores, outcomes, "binary")) == tally.rows - tally.sums["hits"]
