"""From rows to a profile: one function on Arrow batches, wherever it runs."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slipway.drift.bins import BinSet, CategoryBins, NumericBins
from slipway.drift.moments import Moments
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile, keep_smallest_hashes

if TYPE_CHECKING:
    import pyarrow as pa


def empty_profile(bins: BinSet) -> Profile:
    """The profile of no rows."""
    columns: dict[str, ColumnProfile] = {}
    for name, column in bins.columns.items():
        size = len(column) if isinstance(column, NumericBins) else len(column.known)
        counts = np.zeros(size, dtype=np.int64)
        columns[name] = NumericProfile(counts) if isinstance(column, NumericBins) else CategoryProfile(counts)
    return Profile(bins_digest=bins.digest, rows=0, columns=columns)


def profile_batch(
    batch: pa.RecordBatch,
    bins: BinSet,
    *,
    calls: int | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
) -> Profile:
    """Count one batch of rows over the baseline's bins.

    Args:
        batch: Rows; a column that is watched and absent counts as missing in every row. Columns that are not watched
            are passed over.
        bins: The baseline's bins.
        calls: How many calls brought the rows; as many as there are rows when None.
        first: Time of the first row, if known.
        last: Time of the last row, if known.

    Returns:
        The batch's profile.
    """
    columns: dict[str, ColumnProfile] = {}
    for name, column in bins.columns.items():
        values = batch.column(name) if name in batch.schema.names else None
        if isinstance(column, NumericBins):
            columns[name] = _numeric(values, column, batch.num_rows)
        else:
            columns[name] = _categorical(values, column, batch.num_rows)
    return Profile(
        bins_digest=bins.digest,
        rows=batch.num_rows,
        columns=columns,
        calls=batch.num_rows if calls is None else calls,
        first=first,
        last=last,
    )


def finite_numbers(values: Any) -> NDArray[np.float64]:
    """Return the finite numbers of an Arrow column, times as seconds since 1970."""
    return _finite(_as_numbers(values)[0])


def category_counts_of(values: Any) -> dict[str, int]:
    """Return how often each category occurs in an Arrow column."""
    found: dict[str, int] = {}
    if not _nested(values.type):
        _add_counts(found, *_distinct(values))
    return found


def _numeric(values: pa.Array | None, bins: NumericBins, rows: int) -> NumericProfile:
    size = len(bins)
    if values is None:
        return NumericProfile(np.zeros(size, dtype=np.int64), missing=rows)
    numbers, missing, mismatched = _as_numbers(values)
    moments, finite = Moments.of(numbers), numbers
    if not moments.finite:
        finite = _finite(numbers)
        moments = Moments.of(finite)
    undefined = int(np.isnan(numbers).sum()) if finite.size < numbers.size else 0
    infinite = numbers.size - finite.size - undefined
    return NumericProfile(bins.counts(finite), moments, missing + undefined, infinite, mismatched)


def _finite(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(numbers)
    return numbers if known.all() else numbers[known]


def _as_numbers(values: Any) -> tuple[NDArray[np.float64], int, int]:
    """Numbers of a column, how many are missing, and how many are something else than a number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, values.type
    missing = values.null_count
    present = values.drop_null() if missing else values
    if types.is_temporal(kind):
        return _doubles(pc.cast(pc.cast(present, pa.timestamp("us")), pa.int64())) / 1e6, missing, 0
    if any(check(kind) for check in (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)):
        return _doubles(present), missing, 0
    return _parsed(present, missing)


def _doubles(values: Any) -> NDArray[np.float64]:
    """Arrow's numbers, none of them missing, for numpy; Arrow's own way there would import pandas, for nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(np.from_dlpack(pc.cast(values, pa.float64(), safe=False)), dtype=np.float64)


def _parsed(present: Any, missing: int) -> tuple[NDArray[np.float64], int, int]:
    """Numbers that were sent as text count as what they say; the rest is a mismatch."""
    numbers: list[float] = []
    mismatched = 0
    for item in present.to_pylist():
        try:
            numbers.append(float(item))
        except (TypeError, ValueError, OverflowError):
            mismatched += 1
    return np.array(numbers, dtype=np.float64), missing, mismatched


def _categorical(values: pa.Array | None, bins: CategoryBins, rows: int) -> CategoryProfile:
    counts = np.zeros(len(bins.known), dtype=np.int64)
    if values is None:
        return CategoryProfile(counts, missing=rows)
    if _nested(values.type):
        missing = sum(item is None for item in values.to_pylist())
        return CategoryProfile(counts, missing=missing, mismatched=rows - missing)
    found, times = _distinct(values)
    places = bins.places(found)
    known = places >= 0
    np.add.at(counts, places[known], times[known])
    new: dict[str, int] = {}
    _add_counts(new, _taken(found, ~known), times[~known])
    kept, unnamed = keep_smallest_hashes(new)
    return CategoryProfile(counts, kept, unnamed, missing=rows - int(times.sum()))


def _nested(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind.value_type if pa.types.is_dictionary(kind) else kind))


def _add_counts(counts: dict[str, int], values: pa.Array, times: NDArray[np.int64]) -> None:
    for value, count in zip(values.to_pylist(), times.tolist(), strict=True):
        counts[value] = counts.get(value, 0) + count


def _distinct(values: Any) -> tuple[pa.Array, NDArray[np.int64]]:
    """Values as texts, and how often each occurs; one may come more than once, when a dictionary holds it so."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(_texts(values))
    codes = np.asarray(np.from_dlpack(values.indices.drop_null())).astype(np.intp)
    times = np.bincount(codes, minlength=len(values.dictionary))
    found = _texts(values.dictionary)
    counted = times > 0
    if found.null_count:
        counted &= np.from_dlpack(pc.cast(found.is_valid(), pa.uint8())).astype(np.bool_)
    return _taken(found, counted), times[counted]


def _taken(values: pa.Array, chosen: NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    if chosen.all():
        return values
    places = np.flatnonzero(chosen)
    # From buffers, because Arrow's own way would import pandas, for nothing.
    return values.take(pa.Array.from_buffers(pa.int64(), places.size, [None, pa.py_buffer(places)]))


def _texts(values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    return values if pa.types.is_string(kind) or pa.types.is_large_string(kind) else pc.cast(values, pa.string())
