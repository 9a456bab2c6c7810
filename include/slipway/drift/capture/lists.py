"""Lists of values as Arrow arrays, without pandas.

``pyarrow.array`` imports pandas to see whether it was given one of its columns, which takes 0.3 s and 35 MB in a
process that has no other use for it. So lists of one kind of values, as nearly all are, are put into Arrow's buffers
here (https://arrow.apache.org/docs/format/Columnar.html); the others are left to ``pyarrow.array``.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.drift.schema import Column, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

_CODES = {"double": "d", "float": "f", "long": "q", "integer": "i"}
#: What stands in the place of a missing value.
_GAPS: dict[str, Any] = {"double": 0.0, "float": 0.0, "long": 0, "integer": 0, "boolean": False, "string": ""}
#: Kinds for which any number would do here, and may not.
_STRICT: dict[str, type] = {"float": float, "long": int, "integer": int, "boolean": bool}


def packed(values: Sequence[Any], column: Column) -> pa.Array | None:
    """Return values of a column's kind as an array of its type.

    Args:
        values: Of any type; None is a missing one.
        column: Of any kind but times.

    Returns:
        The array; None when a value has another type, or is out of the type's range.
    """
    found = _whole(values, column, None)
    if found is None and None in values:
        gap = _GAPS[column.kind]
        present = _bits([value is not None for value in values])
        found = _whole([gap if value is None else value for value in values], column, present)
    return found


def _whole(values: Sequence[Any], column: Column, present: pa.Buffer | None) -> pa.Array | None:
    """Values none of which is missing, or whose gaps ``present`` knows."""
    import pyarrow as pa

    strict = _STRICT.get(column.kind)
    if strict is not None and set(map(type, values)) - {strict}:
        return None
    try:
        if column.kind == "string":
            buffers = _text_buffers(values)
        else:
            code = _CODES.get(column.kind)
            buffers = [pa.py_buffer(array(code, values)) if code else _bits(values)]
    except (TypeError, OverflowError):
        return None
    return pa.Array.from_buffers(arrow_type(column), len(values), [present, *buffers])


def _text_buffers(values: Sequence[str]) -> list[pa.Buffer]:
    """Where each text ends, and all of them in one piece."""
    import pyarrow as pa

    joined = "".join(values)
    parts = values if joined.isascii() else [value.encode() for value in values]
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(map(len, parts), np.int32, len(values)), out=ends[1:])
    return [pa.py_buffer(ends), pa.py_buffer(joined.encode())]


def _bits(values: Sequence[bool]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(np.fromiter(values, np.bool_, len(values)), bitorder="little"))
