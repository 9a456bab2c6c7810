"""Answered rows of captured calls as a table, and which outcome each of them has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slipway.drift.capture.reader import CaptureBatch
from slipway.drift.quality.join import join_labels, make_keys
from slipway.drift.quality.labels import id_keys
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.schema import ModelSchema

if TYPE_CHECKING:
    import pyarrow as pa


def calls_of(batch: CaptureBatch, schema: ModelSchema, policy: QualityPolicy) -> pa.Table | None:
    """Take from captured calls what is held against outcomes.

    Args:
        batch: Captured calls with their events.
        schema: The model's.
        policy: The rules.

    Returns:
        A row for each row of the batch: ``key``, ``time`` (microseconds since 1970), ``answer`` and the columns of the
        slices; None when it has no answers.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names, events = batch.rows.schema.names, batch.events
    inputs = {column.name for column in schema.inputs}
    answers = [name for name in names if name not in inputs]
    prediction = policy.prediction or (answers[-1] if answers else None)
    if events is None or prediction not in names:
        return None
    if policy.exact:
        keys = id_keys(events.column("inference_id"), events.column("row"))
    elif all(name in names for name in policy.key):
        keys = make_keys([batch.rows.column(name) for name in policy.key])
    else:
        keys = pa.nulls(batch.rows.num_rows, pa.string())
    times = pc.fill_null(pc.cast(events.column("time"), pa.int64()), 0)
    slices = {name: batch.rows.column(name) for name in policy.slices if name in names}
    return pa.table({"key": keys, "time": times, "answer": batch.rows.column(prediction), **slices})


def outcomes_of(calls: pa.Table, labels: pa.Table, policy: QualityPolicy) -> NDArray[np.int64]:
    """Find the outcome of each row, see :func:`slipway.drift.quality.join.join_labels`.

    Args:
        calls: From :func:`calls_of`.
        labels: What :func:`slipway.drift.quality.labels.read_labels` gave.
        policy: The rules.

    Returns:
        For each row the index of its outcome, -1 without one.
    """
    return join_labels(
        calls["key"].combine_chunks(),
        calls["time"].to_numpy(),
        labels["key"].combine_chunks(),
        labels["time"].to_numpy(),
        int(policy.wait.total_seconds() * 1_000_000),
        exact=policy.exact,
    )


def numbers_of(column: Any) -> NDArray[np.float64]:
    """Numbers of a column; what is none becomes NaN, true and false become 1 and 0."""

    def number(item: Any) -> float:
        try:
            return float({"true": 1, "false": 0}.get(item.lower(), item) if isinstance(item, str) else item)
        except (TypeError, ValueError):
            return float("nan")

    return np.array([number(item) for item in column.to_pylist()], dtype=np.float64)


def texts_of(column: Any) -> list[str | None]:
    """Texts of a column; whole numbers of any type give the same."""
    texts: list[str | None] = make_keys([column]).to_pylist()
    return texts
