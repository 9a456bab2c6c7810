"""Which outcome belongs to which call?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Times = NDArray[np.int64]


def join_labels(
    call_keys: pa.Array, call_times: Times, label_keys: pa.Array, label_times: Times, tolerance: int, *, exact: bool
) -> NDArray[np.int64]:
    """Find the outcome of each call.

    An outcome belongs to the latest call with its key that is not later than the outcome; at most ``tolerance``
    before it. Of several outcomes of one call the latest is a correction and counts.

    Args:
        call_keys: Text; a call without one has no outcome.
        call_times: Microseconds since 1970.
        label_keys: Text; an outcome without one belongs to no call.
        label_times: When each outcome was known, microseconds since 1970.
        tolerance: Longest wait for an outcome, microseconds.
        exact: Whether a key names one call (an inference id): then clocks that disagree do not matter.

    Returns:
        For each call the index of its outcome, -1 without one.
    """
    found = np.full(len(call_keys), -1, dtype=np.int64)
    calls, labels = _codes(call_keys, label_keys)
    order = np.lexsort((call_times, calls))
    order = order[calls[order] >= 0]
    usable = np.flatnonzero(labels >= 0)
    if not len(order) or not len(usable):
        return found
    ranks = np.unique(call_times[order])
    width = len(ranks) + 1
    places = calls[order] * width + np.searchsorted(ranks, call_times[order], side="right")
    seen = width - 1 if exact else np.searchsorted(ranks, label_times[usable], side="right")
    before = np.searchsorted(places, labels[usable] * width + seen, side="right") - 1
    candidates = order[np.maximum(before, 0)]
    waited = label_times[usable] - call_times[candidates]
    fits = (before >= 0) & (calls[candidates] == labels[usable]) & (waited <= tolerance)
    chosen, calls_of = usable[fits], candidates[fits]
    latest = np.lexsort((chosen, label_times[chosen]))
    found[calls_of[latest]] = chosen[latest]  # of equal indices numpy keeps the last
    return found


def make_keys(columns: list[Any]) -> pa.Array:
    """Return one text key for each row of some columns; null where any of them is.

    Args:
        columns: Arrow arrays of one length; whole numbers in any type give the same text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [pc.cast(_plain(column), pa.string()) for column in columns]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, "\x1f")


def _plain(column: Any) -> Any:
    """Doubles that are all whole as integers, so that 7.0 from JSON meets 7 from Parquet."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return column
    whole = pc.all(pc.equal(pc.floor(column), column)).as_py()
    return pc.cast(column, pa.int64()) if whole else column


def _codes(left: pa.Array, right: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same number for the same text on both sides; -1 for none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.chunked_array([pc.cast(left, pa.string()), pc.cast(right, pa.string())]).combine_chunks()
    codes = pc.fill_null(pc.dictionary_encode(texts).indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes[: len(left)], codes[len(left) :]
