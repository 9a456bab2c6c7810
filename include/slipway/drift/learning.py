"""Learn a baseline from rows: one pass for the bins, one for the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slipway.drift.baseline import make_baseline
from slipway.drift.bins import Bins, BinSet, CategoryBins, NumericBins
from slipway.drift.profile import Profile
from slipway.drift.profiling import category_counts_of, empty_profile, finite_numbers, profile_batch
from slipway.drift.reference import Reference
from slipway.drift.schema import Column, ModelSchema
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

#: Parts that the rows are cut into, in their order, to see how much healthy parts differ.
CHUNKS = 40
#: Smaller chunks say little; there are fewer of them then.
MIN_CHUNK_ROWS = 200
#: Values that quantiles are taken from, over all columns; of more rows every second, fourth … is taken.
_KEPT_VALUES = 20_000_000
_LEAST_KEPT = 50_000
_KEPT_CATEGORIES = 100_000
#: Near 0 a compiled model's answers may differ from the original's by 1e-12, whatever their size
#: (:data:`slipway.endpoints.comparison.ABSOLUTE_TOLERANCE`).
_SAME_ANSWER = 2e-12
#: Times may be sent in whole milliseconds since 1970.
_SAME_TIME_SECONDS = 1e-3

Read = Callable[[], Iterable["pa.RecordBatch"]]


def learn_reference(read: Read, schema: ModelSchema, origin: Mapping[str, Any], *, chunks: int = CHUNKS) -> Reference:
    """Learn what is normal.

    Args:
        read: Gives the batches, twice the same, in the order of time: how much the rows change from chunk to chunk is
            what later windows are allowed to differ. In shuffled rows chunks do not differ.
        schema: The columns to watch.
        origin: Where the rows come from, for the record.
        chunks: At most so many parts.

    Returns:
        The reference.

    Raises:
        InvalidInputError: There are no rows.
    """
    bins, rows = _learn_bins(read(), schema)
    if rows == 0:
        raise InvalidInputError("A baseline needs rows; none were found.")
    chunk_rows = max(-(-rows // chunks), MIN_CHUNK_ROWS)
    parts = list(_chunk_profiles(read(), bins, chunk_rows))
    if len(parts) > 1 and parts[-1].rows < chunk_rows / 2:
        parts[-2:] = [parts[-2].merge(parts[-1])]
    return Reference(schema, make_baseline(bins, parts), {"rows": rows, "chunks": len(parts), **origin})


class _NumberSample:
    """Values of one column, thinned evenly when there are too many; the same rows give the same sample."""

    def __init__(self, limit: int, same: Mapping[str, float]) -> None:
        self._limit = limit
        self._same = same
        self._stride = 1
        self._skip = 0
        self._parts: list[NDArray[np.float64]] = []
        self._held = 0

    def add(self, values: NDArray[np.float64]) -> None:
        taken = values[self._skip :: self._stride].copy()
        self._skip = (self._skip - len(values)) % self._stride
        self._parts.append(taken)
        self._held += len(taken)
        while self._held > self._limit:
            self._parts = [np.concatenate(self._parts)[::2].copy()]
            self._held = len(self._parts[0])
            self._stride *= 2

    def bins(self) -> NumericBins:
        return NumericBins.of(np.concatenate(self._parts) if self._parts else np.empty(0), **self._same)


class _CategorySample:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        for value, count in counts.items():
            self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > 2 * _KEPT_CATEGORIES:
            kept = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:_KEPT_CATEGORIES]
            self._counts = dict(kept)

    def bins(self) -> CategoryBins:
        return CategoryBins.of(self._counts)


def _learn_bins(batches: Iterable[pa.RecordBatch], schema: ModelSchema) -> tuple[BinSet, int]:
    limit = max(_LEAST_KEPT, _KEPT_VALUES // max(1, len(schema.columns)))
    samples = {
        column.name: _NumberSample(limit, _same(column, schema)) if column.numeric else _CategorySample()
        for column in schema.columns
    }
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        for column in schema.columns:
            if column.name in batch.schema.names:
                _add(samples[column.name], batch.column(column.name))
    found: dict[str, Bins] = {name: sample.bins() for name, sample in samples.items()}
    return BinSet(found), rows


def _same(column: Column, schema: ModelSchema) -> dict[str, float]:
    """How far from a value another is still the same, as :meth:`NumericBins.of` takes it; whole numbers are exact."""
    if column.kind == "datetime":
        return {"relative": 0.0, "absolute": _SAME_TIME_SECONDS}
    if column.kind in {"long", "integer"}:
        return {"relative": 0.0}
    return {"absolute": _SAME_ANSWER} if column in schema.outputs else {}


def _add(sample: _NumberSample | _CategorySample, values: Any) -> None:
    if isinstance(sample, _NumberSample):
        sample.add(finite_numbers(values))
    else:
        sample.add(category_counts_of(values))


def _chunk_profiles(batches: Iterable[pa.RecordBatch], bins: BinSet, chunk_rows: int) -> Iterator[Profile]:
    chunk = empty_profile(bins)
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, min(chunk_rows - chunk.rows, batch.num_rows - start))
            chunk = chunk.merge(profile_batch(part, bins))
            start += part.num_rows
            if chunk.rows >= chunk_rows:
                yield chunk
                chunk = empty_profile(bins)
    if chunk.rows:
        yield chunk


def schema_of_table(features: pa.Schema, predictions: pa.Schema | None = None, *, named: bool = True) -> ModelSchema:
    """Return the schema of Arrow tables: features, and predictions whose columns have their final names already.

    Raises:
        InvalidInputError: No feature can be watched.
    """
    from slipway.drift.schema import kind_of_arrow

    kinds = [(field.name, kind_of_arrow(field.type)) for field in features]
    inputs = tuple(Column(name, kind) for name, kind in kinds if kind)
    if not inputs:
        raise InvalidInputError(f"None of the columns can be watched: {[field.name for field in features]}.")
    outputs = [(field.name, kind_of_arrow(field.type)) for field in predictions or ()]
    return ModelSchema(
        inputs=inputs,
        outputs=tuple(Column(name, kind) for name, kind in outputs if kind),
        named=named,
        passed_over=tuple(name for name, kind in kinds if not kind),
    )
