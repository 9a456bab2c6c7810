"""Profiling over Spark's partitions: the functions of this process, called by ``mapInArrow``.

Spark sends Arrow batches to Python and gets back one small row for each partition or capture object. Its workers need
this package and nothing else: capture objects are read by addresses that are signed for an hour, so no credentials
leave the driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from slipway.drift.bins import BinSet
from slipway.drift.capture.profiling import profile_object
from slipway.drift.encoding import from_bytes, to_bytes
from slipway.drift.engines.threads import profile_batches
from slipway.drift.profile import Profile
from slipway.drift.profiling import empty_profile
from slipway.drift.reference import Reference, read_reference

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_PARTITIONS = 1000
_FETCH_SECONDS = 60.0
_Map = Callable[[Iterator["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]


def profile_frame(frame: Any, bins: BinSet) -> Profile:
    """Profile a Spark frame.

    Args:
        frame: ``pyspark.sql.DataFrame``; columns that are not watched are not read.
        bins: The baseline's bins.

    Returns:
        The profile: every count as in one process; of the moments the last digits may differ, as the batches do.
    """
    watched = frame.select(*(f"`{name}`" for name in bins.columns if name in frame.columns))
    found = watched.mapInArrow(_partition_profiles(bins), "part int, profile binary").toArrow()
    merged = empty_profile(bins)
    for row in sorted(found.to_pylist(), key=lambda row: row["part"]):
        merged = merged.merge(from_bytes(row["profile"]))
    return merged


def profile_objects(
    spark: Any, *, reference: str, objects: Sequence[Sequence[str]], folder: str
) -> dict[str, list[list[str]]]:
    """Profile capture objects, each as in one process, to the bit.

    Args:
        spark: The session.
        reference: Path of the baseline's file.
        objects: Name and signed address of each object: no more than whose profiles the driver's memory holds.
        folder: Where the profiles are put as ``<number>.slpf``, and ``<number>.rejected.json`` when records were set
            aside.

    Returns:
        ``profiled``: name and number of each object.
    """
    known = read_reference(Path(reference).read_bytes())
    rows = [(name, url) for name, url in objects]
    frame = spark.createDataFrame(rows, "name string, url string").repartition(min(len(rows), _MOST_PARTITIONS))
    found = frame.mapInArrow(_object_profiles(known), "name string, profile binary, rejected binary")
    profiled = []
    # All partitions in one job: an iterator would run one after the other.
    for number, row in enumerate(found.collect()):
        place = Path(folder, str(number))
        place.with_suffix(".slpf").write_bytes(row["profile"])
        if row["rejected"]:
            place.with_suffix(".rejected.json").write_bytes(row["rejected"])
        profiled.append([row["name"], str(number)])
    return {"profiled": profiled}


def _partition_profiles(bins: BinSet) -> _Map:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        part = context.partitionId() if context else 0
        body = to_bytes(profile_batches(batches, bins))
        yield pa.record_batch([pa.array([part], pa.int32()), pa.array([body], pa.binary())], ["part", "profile"])

    return count


def _object_profiles(reference: Reference) -> _Map:
    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        schema = pa.schema([("name", pa.string()), ("profile", pa.binary()), ("rejected", pa.binary())])
        for batch in batches:
            for row in batch.to_pylist():
                with urlopen(row["url"], timeout=_FETCH_SECONDS) as stream:
                    found = profile_object(stream, reference.schema, reference.bins)
                yield pa.record_batch([[row["name"]], [found.profile], [found.rejected]], schema=schema)

    return count
