"""Landing what is new in a table of Spark's catalog: its tasks write Parquet objects that never change.

A row is new when its time is later than the last one that was landed, or when it lies within the range in which rows
may appear late and was not there before. The latter are recognised by a digest of their content, and counted: two equal
rows are two rows. One snapshot of the range is read for both, so that no row can slip in between.
"""

from __future__ import annotations

import hashlib
import io
import math
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as fn

from slipway_trainer.job import DataObject, Job, Landing
from slipway_trainer.objects import ObjectReader, put
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.progress import tell
from slipway_trainer.spark.session import place_of, start_session, stop_session
from slipway_trainer.spark.times import micros

PART_ROWS = 400_000
_MARK, _DIGEST, _NUMBER, _COUNT = "__slipway_mark", "__slipway_digest", "__slipway_number", "__slipway_count"
_DIGEST_BYTES = 16  # of MD5
_RECORD = "uri string, etag string, modified string, size long, rows long"


def land(job: Job) -> dict[str, Any]:
    """Land the rows that were not landed before.

    Args:
        job: Its ``landing`` says what.

    Returns:
        ``parts`` (``key``, ``etag``, ``modified``, ``size`` and ``rows`` of each object), and how far the table is read
        now: ``through``, ``tail``, ``tail_rows``, ``columns``.

    Raises:
        TrainingError: There is no such table or column.
        BadDataError: Rows have no time.
        UnavailableError: S3 does not answer.
    """
    if job.landing is None:
        raise TrainingError("the job names nothing to land")
    with tempfile.TemporaryDirectory(prefix="slipway-land-") as folder:
        tell(f"starting Spark ({place_of(job.spark)})")
        spark = start_session(
            f"{job.service} landing", cache_dir=Path(folder), configuration=job.spark, submitted=job.submitted
        )
        try:
            return _land(spark, job, job.landing)
        finally:
            stop_session(spark)


def _land(spark: SparkSession, job: Job, landing: Landing) -> dict[str, Any]:
    frame = _table(spark, landing)
    floor = _floor(landing.through, landing)
    wanted = frame if floor is None else frame.where(fn.col(_MARK) >= floor)
    snapshot = wanted.localCheckpoint()
    reached = (snapshot.agg(fn.max(_MARK)).first() or (None,))[0]
    known = _known(job, landing)
    if reached is None:
        unchanged = {"through": landing.through, "columns": list(landing.columns), "tail": _key(landing.tail)}
        return {**unchanged, "parts": [], "tail_rows": len(known)}
    reached = max(int(reached), landing.through if landing.through is not None else int(reached))
    columns = [name for name in frame.columns if name != _MARK]
    fresh = _fresh(spark, snapshot, landing, known).select(*columns)
    records = fresh.mapInArrow(_writer(landing.place, job), _RECORD).collect()
    tell(f"landed {sum(each['rows'] for each in records):,} rows of {landing.table} in {len(records)} objects")
    tail = _tail(snapshot.where(fn.col(_MARK) >= _floor(reached, landing)), columns)
    uri = landing.tail
    if uri is None or tail != b"".join(known):
        uri = f"{landing.place}00000-{hashlib.sha256(tail).hexdigest()[:16]}.tail"
        put(uri, tail, endpoint_url=job.s3_endpoint_url, region=job.region)
    return {
        "parts": [_part(record.asDict()) for record in records],
        "through": reached,
        "tail": _key(uri),
        "tail_rows": len(tail) // _DIGEST_BYTES,
        "columns": columns,
    }


def _table(spark: SparkSession, landing: Landing) -> DataFrame:
    try:
        frame: DataFrame = spark.table(landing.table)
        columns = frame.columns
    except AnalysisException as error:
        said = str(error).splitlines()[0]
        raise TrainingError(f"table {landing.table} cannot be read from Spark's catalog: {said}") from error
    if landing.column not in columns:
        raise TrainingError(f"table {landing.table} has no column {landing.column!r}; it has {', '.join(columns[:30])}")
    frame = frame.withColumn(_MARK, micros(frame, landing.column))
    without = frame.where(fn.col(_MARK).isNull()).count()
    if without:
        raise BadDataError(
            f"{without} rows of {landing.table} have no {landing.column!r}, or one that is no time, so nothing says "
            "whether they are new"
        )
    return frame


def _floor(through: int | None, landing: Landing) -> int | None:
    return None if through is None else through - math.ceil(landing.late_within_seconds * 1_000_000)


def _known(job: Job, landing: Landing) -> list[bytes]:
    """The digests of the rows that were landed before and are met again, sorted."""
    if landing.tail is None:
        return []
    body = ObjectReader(None, job.s3_endpoint_url, job.region).content(DataObject(landing.tail))
    return [body[place : place + _DIGEST_BYTES] for place in range(0, len(body), _DIGEST_BYTES)]


def _fresh(spark: SparkSession, snapshot: DataFrame, landing: Landing, known: list[bytes]) -> DataFrame:
    if landing.through is None:
        return snapshot
    higher = snapshot.where(fn.col(_MARK) > landing.through)
    if not set(landing.columns) <= set(snapshot.columns):
        tell(f"columns of {landing.table} are gone: only rows later than the last one count as new")
        return higher
    met = snapshot.where(fn.col(_MARK) <= landing.through).withColumn(_DIGEST, _digest(landing.columns))
    met = met.withColumn(_NUMBER, fn.row_number().over(Window.partitionBy(_DIGEST).orderBy(_MARK)))
    digests = pa.table({_DIGEST: pa.array([each.hex() for each in known], pa.string())})
    counted = spark.createDataFrame(digests).groupBy(_DIGEST).agg(fn.count("*").alias(_COUNT))
    late = met.join(counted, _DIGEST, "left").where(fn.coalesce(fn.col(_COUNT), fn.lit(0)) < fn.col(_NUMBER))
    return higher.unionByName(late.select(*snapshot.columns))


def _digest(columns: Any) -> Any:
    return fn.md5(fn.to_json(fn.struct(*columns)))


def _tail(rows: DataFrame, columns: list[str]) -> bytes:
    found = rows.select(_digest(columns).alias(_DIGEST)).toArrow().column(_DIGEST).to_pylist()
    return b"".join(sorted(bytes.fromhex(each) for each in found))


def _writer(place: str, job: Job) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What each of Spark's tasks does: write its rows, and tell which objects hold them."""
    endpoint_url, region, part_rows = job.s3_endpoint_url, job.region, PART_ROWS

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        task = TaskContext.get()
        number = task.partitionId() if task else 0
        for index, part in enumerate(_grouped(batches, part_rows)):
            file = io.BytesIO()
            parquet.write_table(part, file)
            body = file.getvalue()
            uri = f"{place}{number:05d}-{index}-{hashlib.sha256(body).hexdigest()[:16]}.parquet"
            etag = put(uri, body, endpoint_url=endpoint_url, region=region)
            record = {"uri": uri, "etag": etag, "modified": _now(), "size": len(body), "rows": part.num_rows}
            yield pa.RecordBatch.from_pylist([record])

    return write


def _grouped(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    found: list[pa.RecordBatch] = []
    for batch in batches:
        found.append(batch)
        if sum(each.num_rows for each in found) >= size:
            yield pa.Table.from_batches(found)
            found = []
    if any(each.num_rows for each in found):
        yield pa.Table.from_batches(found)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _part(record: dict[str, Any]) -> dict[str, Any]:
    return {**{name: value for name, value in record.items() if name != "uri"}, "key": _key(record["uri"])}


def _key(uri: str | None) -> str | None:
    """The key within the bucket; a local path stays as it is."""
    return uri.removeprefix("s3://").partition("/")[2] if uri and uri.startswith("s3://") else uri
