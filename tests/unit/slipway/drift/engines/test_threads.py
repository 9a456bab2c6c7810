from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.drift.bins import BinSet, CategoryBins, NumericBins
from slipway.drift.encoding import to_bytes
from slipway.drift.engines.threads import profile_batches
from slipway.drift.profiling import empty_profile, profile_batch

BINS = BinSet({"x": NumericBins.of(np.arange(100.0)), "c": CategoryBins(known=("a", "b"))})
SCHEMA = pa.schema([("x", pa.float64()), ("c", pa.string())])
numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64))
words = st.one_of(st.none(), st.sampled_from(["a", "b"]), st.text(max_size=4))
batches = st.lists(st.lists(st.tuples(numbers, words), max_size=20), max_size=12)


def batch_of(rows) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [(), ()]
    return pa.record_batch([pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], SCHEMA)


@given(batches, st.integers(2, 4))
@settings(deadline=None)
def test_threads_give_the_bytes_that_one_gives(rows, threads):
    given_ = [batch_of(each) for each in rows]
    alone = empty_profile(BINS)
    for each in given_:
        alone = alone.merge(profile_batch(each, BINS))
    assert to_bytes(profile_batches(given_, BINS)) == to_bytes(alone)
    assert to_bytes(profile_batches(given_, BINS, threads=threads)) == to_bytes(alone)


def test_batches_are_read_as_they_are_needed():
    held = most = 0

    class Counted:
        """A batch whose end of life is seen."""

        def __init__(self) -> None:
            nonlocal held, most
            held += 1
            most = max(most, held)
            self.num_rows = 1
            self.schema = pa.schema([])

        def __del__(self) -> None:
            nonlocal held
            held -= 1

    def read() -> Iterator[Counted]:
        for _ in range(100):
            yield Counted()

    found = profile_batches(read(), BINS, threads=3)  # type: ignore[arg-type]
    assert found.rows == 100
    assert most <= 2 * 3 + 2


@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_that_cannot_be_counted_or_read_is_an_error_not_a_gap(threads):
    good = batch_of([(1.0, "a")])
    nested = good.set_column(0, "x", pa.array([{"a": 1}]))  # counts as a mismatch
    assert profile_batches([nested, *[good] * 20], BINS, threads=threads).columns["x"].mismatched == 1
    with pytest.raises(AttributeError):
        profile_batches([good, None, *[good] * 20], BINS, threads=threads)  # type: ignore[list-item]

    def read() -> Iterator[pa.RecordBatch]:
        yield good
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        profile_batches(read(), BINS, threads=threads)
