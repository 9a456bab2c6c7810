"""The job's objects as a Spark frame, without any jar: one task an object, Arrow batches from Python to Spark.

A data source in Python would do the same, but Spark starts three more Python processes for one: to look sources up, to
make this one, and to plan the reading.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from slipway_trainer.job import DataObject
from slipway_trainer.objects import ObjectReader


def object_rows(spark: Any, objects: Sequence[DataObject], reader: ObjectReader, schema: pa.Schema) -> DataFrame:
    """The rows of objects.

    Args:
        spark: The session.
        objects: Each is read by a task of its own. Credentials do not travel with it: each worker finds its own, as
            boto3 does.
        reader: Reads one.
        schema: Columns and types wanted.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    of_spark = from_arrow_schema(schema)
    read = partial(_read, objects=tuple(objects), reader=reader, wanted=_arrow_schema(of_spark))
    numbers = spark.range(0, len(objects), 1, len(objects))
    frame: DataFrame = numbers.mapInArrow(read, of_spark)
    return frame


def _read(
    numbers: Iterator[pa.RecordBatch], *, objects: Sequence[DataObject], reader: ObjectReader, wanted: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for batch in numbers:
        for number in batch.column(0).to_pylist():
            for rows in reader.batches(objects[number]):
                yield from pa.Table.from_batches([rows]).select(wanted.names).cast(wanted).to_batches()


def _arrow_schema(schema: Any) -> pa.Schema:
    """Spark's types as Arrow's, with times in UTC: Spark 4.0, as on EMR, gives those without being asked."""
    from pyspark.sql.pandas.types import to_arrow_schema

    asked = {"timezone": "UTC"} if "timezone" in inspect.signature(to_arrow_schema).parameters else {}
    return to_arrow_schema(schema, **asked)
