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
    batch: pa.RecordBatch, bins: BinSet, *, first: datetime | None = None, last: datetime | None = None
) -> Profile:
    """Count one batch of rows over the baseline's bins.

    Args:
        batch: Rows; a column that is watched and absent counts as missing in every row. Columns that are not watched
            are passed over.
        bins: The baseline's bins.
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
    return Profile(bins_digest=bins.digest, rows=batch.num_rows, columns=columns, first=first, last=last)


def finite_numbers(values: Any) -> NDArray[np.float64]:
    """Return the finite numbers of an Arrow column, times as seconds since 1970."""
    return _finite(_as_numbers(values)[0])


def category_counts_of(values: Any) -> dict[str, int]:
    """Return how often each category occurs in an Arrow column."""
    found: dict[str, int] = {}
    for value, count in _value_counts(values):
        if isinstance(value, str):
            found[value] = found.get(value, 0) + count
    return found


def _numeric(values: pa.Array | None, bins: NumericBins, rows: int) -> NumericProfile:
    size = len(bins)
    if values is None:
        return NumericProfile(np.zeros(size, dtype=np.int64), missing=rows)
    numbers, missing, mismatched = _as_numbers(values)
    finite = _finite(numbers)
    undefined = int(np.isnan(numbers).sum()) if finite.size < numbers.size else 0
    infinite = numbers.size - finite.size - undefined
    return NumericProfile(bins.counts(finite), Moments.of(finite), missing + undefined, infinite, mismatched)


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
    size = len(bins.known)
    counts = np.zeros(size, dtype=np.int64)
    if values is None:
        return CategoryProfile(counts, missing=rows)
    position = {value: index for index, value in enumerate(bins.known)}
    new: dict[str, int] = {}
    missing = mismatched = 0
    for value, count in _value_counts(values):
        if value is None:
            missing += count
        elif not isinstance(value, str):
            mismatched += count
        elif value in position:
            counts[position[value]] += count
        else:
            new[value] = new.get(value, 0) + count
    kept, unnamed = keep_smallest_hashes(new)
    return CategoryProfile(counts, kept, unnamed, missing, mismatched)


def _value_counts(values: Any) -> list[tuple[Any, int]]:
    """Values with their counts; a value may come more than once, when a dictionary holds it more than once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types, kind = pa.types, values.type
    encoded = types.is_dictionary(kind)
    if encoded:
        kind = kind.value_type
    if types.is_nested(kind):
        return [(item, 1) if item is None else (object(), 1) for item in values.to_pylist()]
    if not (types.is_string(kind) or types.is_large_string(kind)):
        values = pc.cast(values.dictionary_decode() if encoded else values, pa.string())
    found = pc.value_counts(values)
    return list(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))
