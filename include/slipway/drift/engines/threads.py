"""Profiling batches in this process, one after the other or several at a time; the result is the same to the bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from slipway.drift.bins import BinSet
from slipway.drift.profile import Profile
from slipway.drift.profiling import empty_profile, profile_batch

if TYPE_CHECKING:
    import pyarrow as pa


def profile_batches(batches: Iterable[pa.RecordBatch], bins: BinSet, *, threads: int = 1) -> Profile:
    """Profile all batches.

    Args:
        batches: Rows, read as they are needed: at most two batches for each thread are in memory.
        bins: The baseline's bins.
        threads: How many batches are counted at a time; numpy's and Arrow's computations leave Python's lock.

    Returns:
        The merged profile. Parts are merged in the order of the batches, so that even the last digit of the moments
        does not depend on ``threads``.
    """
    merged = empty_profile(bins)
    for part in _parts(batches, bins, threads):
        merged = merged.merge(part)
    return merged


def _parts(batches: Iterable[pa.RecordBatch], bins: BinSet, threads: int) -> Iterator[Profile]:
    if threads == 1:
        yield from (profile_batch(batch, bins) for batch in batches)
        return
    waiting: deque[Future[Profile]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append(pool.submit(profile_batch, batch, bins))
            if len(waiting) >= 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
