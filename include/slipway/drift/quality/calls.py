"""Answered rows of captured calls as a table, and which outcome each of them has."""

from __future__ import annotations

from collections.abc import Iterable
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

    names, events = batch.rows.schema.names, batch.events
    inputs = {column.name for column in schema.inputs}
    answers = [name for name in names if name not in inputs]
    prediction = policy.prediction or (answers[-1] if answers else None)
    if events is None or prediction not in names:
        return None
    slices = {name: batch.rows.column(name) for name in policy.slices if name in names}
    named = _named(batch.rows, events, policy)
    return pa.table({**named, "answer": batch.rows.column(prediction), **slices})


def rivals_of(batches: Iterable[CaptureBatch], calls: pa.Table, policy: QualityPolicy) -> pa.Table:
    """Take from other calls what an outcome may belong to instead.

    Args:
        batches: Captured calls with their events, such as those that came after a window.
        calls: From :func:`calls_of`; only its keys matter.
        policy: The rules.

    Returns:
        ``key`` and ``time`` of the rows whose key ``calls`` has too.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = pc.unique(calls["key"].combine_chunks().drop_null())
    found = [pa.table({"key": pa.array([], pa.string()), "time": pa.array([], pa.int64())})]
    for batch in batches:
        if batch.events is not None:
            named = pa.table(_named(batch.rows, batch.events, policy))
            found.append(named.filter(pc.is_in(named["key"], value_set=keys)))
    return pa.concat_tables(found)


def outcomes_of(
    calls: pa.Table, labels: pa.Table, policy: QualityPolicy, rivals: pa.Table | None = None
) -> NDArray[np.int64]:
    """Find the outcome of each row, see :func:`slipway.drift.quality.join.join_labels`.

    Args:
        calls: From :func:`calls_of`.
        labels: What :func:`slipway.drift.quality.labels.read_labels` gave.
        policy: The rules.
        rivals: From :func:`rivals_of`; outcomes that belong to them are nobody's here.

    Returns:
        For each row of ``calls`` the index of its outcome, -1 without one.
    """
    import pyarrow as pa

    asked = calls.select(["key", "time"])
    if rivals is not None:
        asked = pa.concat_tables([asked, rivals])
    found = join_labels(
        asked["key"].combine_chunks(),
        asked["time"].to_numpy(),
        labels["key"].combine_chunks(),
        labels["time"].to_numpy(),
        int(policy.wait.total_seconds() * 1_000_000),
        exact=policy.exact,
    )
    return found[: calls.num_rows]


def _named(rows: pa.RecordBatch, events: pa.RecordBatch, policy: QualityPolicy) -> dict[str, Any]:
    """What an outcome finds its call by: the key of each row, and its time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if policy.exact:
        keys = id_keys(events.column("inference_id"), events.column("row"))
    elif all(name in rows.schema.names for name in policy.key):
        keys = pc.cast(make_keys([rows.column(name) for name in policy.key]), pa.string())
    else:
        keys = pa.nulls(rows.num_rows, pa.string())
    return {"key": keys, "time": pc.fill_null(pc.cast(events.column("time"), pa.int64()), 0)}


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
