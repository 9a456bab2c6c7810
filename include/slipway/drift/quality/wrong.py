"""Was an answer wrong? By outcomes, one row at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slipway.drift.quality.calls import numbers_of, texts_of
from slipway.drift.quality.tally import Task

if TYPE_CHECKING:
    import pyarrow as pa

#: From here on a chance of the outcome 1 says that it is 1, as the metrics ``accuracy`` and ``precision`` take it.
SAYS_ONE = 0.5
Flags = NDArray[np.bool_]


def comparable(column: Any, task: Task) -> pa.Array:
    """Bring answers or outcomes into a form in which both can be compared: numbers, or the texts of classes.

    Args:
        column: An Arrow array of any type.
        task: What kind of answer it is.
    """
    import pyarrow as pa

    if task == "multiclass":
        return pa.array(texts_of(column), pa.string())
    return pa.array(numbers_of(column), pa.float64())


def wrong_answers(answers: pa.Array, outcomes: pa.Array, task: Task, tolerance: float | None) -> tuple[Flags, Flags]:
    """Hold answers against their outcomes.

    Args:
        answers: From :func:`comparable`.
        outcomes: From :func:`comparable`, of the same length.
        task: What kind of answer it is.
        tolerance: Difference up to which a number is right, in the unit of the answers; only for regression.

    Returns:
        Which rows can be compared (there is a usable answer and a usable outcome), and which of them are wrong.
    """
    import pyarrow.compute as pc

    if task == "multiclass":
        other = pc.not_equal(answers, outcomes)
        return _flags(pc.is_valid(other)), _flags(pc.fill_null(other, False))
    said, true = (np.asarray(column, dtype=np.float64) for column in (answers, outcomes))
    if task == "binary":
        known = np.isfinite(said) & np.isin(true, (0.0, 1.0))
        return known, known & ((said >= SAYS_ONE) != (true == 1.0))
    known = np.isfinite(said) & np.isfinite(true)
    with np.errstate(invalid="ignore"):
        return known, known & (np.abs(said - true) > (tolerance or 0.0))


def _flags(column: Any) -> Flags:
    return np.asarray(column, dtype=np.bool_)
