"""A baseline from captured traffic, for models that were logged without one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from slipway.drift.capture import CaptureCounts, read_captures
from slipway.drift.learning import learn_reference
from slipway.drift.objects import CaptureObject
from slipway.drift.reference import Reference
from slipway.drift.schema import PREDICTION, Column, ModelSchema, kind_of_arrow
from slipway.drift.store import DriftStore

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNKS = 20


@dataclasses.dataclass(frozen=True)
class Learned:
    """What the captured rows gave: a reference once there are enough of them, else None."""

    reference: Reference | None
    rows: int


def learn_from_captures(
    store: DriftStore, captures: Sequence[CaptureObject], schema: ModelSchema, min_rows: int
) -> Learned:
    """Learn the baseline from the first rows that production received.

    Args:
        store: The monitor's documents.
        captures: Capture objects since the champion took over, oldest first.
        schema: From the model's signature.
        min_rows: Rows that make a baseline.

    Returns:
        The reference, made from the fewest whole objects that hold enough rows; the rows that there are.
    """
    taken: list[CaptureObject] = []
    rows = 0
    for each in captures:
        found = list(_batches(store, [each], schema))
        rows += sum(batch.num_rows for batch in found)
        taken.append(each)
        if not schema.outputs and found:
            schema = dataclasses.replace(schema, outputs=_outputs(found[0], schema))
        if rows >= min_rows:
            origin = {"source": "captures", "since": taken[0].at.isoformat(), "until": taken[-1].at.isoformat()}
            read = functools.partial(_batches, store, taken, schema)
            reference = learn_reference(read, schema, origin, chunks=_CHUNKS)
            return Learned(reference, rows)
    return Learned(None, rows)


def _batches(store: DriftStore, captures: Sequence[CaptureObject], schema: ModelSchema) -> Iterator[pa.RecordBatch]:
    for each in captures:
        with store.open_capture(each) as stream:
            for batch in read_captures(stream, schema, CaptureCounts()):
                yield batch.rows


def _outputs(batch: pa.RecordBatch, schema: ModelSchema) -> tuple[Column, ...]:
    inputs = {column.name for column in schema.inputs}
    kinds = [(each.name, kind_of_arrow(each.type)) for each in batch.schema if each.name not in inputs]
    return tuple(Column(name, kind) for name, kind in kinds if kind and PREDICTION in name)
