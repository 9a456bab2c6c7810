"""A Spark data source that reads the job's objects without any jar: one partition an object, Arrow batches inside."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from slipway_trainer.job import DataObject
from slipway_trainer.objects import ObjectReader

FORMAT = "slipway"


class ObjectSource(DataSource):
    """``spark.read.format("slipway").schema(…).options(objects=…, reader=…).load()``.

    Credentials do not travel in options: each worker finds its own, as boto3 does.
    """

    @classmethod
    def name(cls) -> str:
        """The format's name."""
        return FORMAT

    def reader(self, schema: StructType) -> ObjectSourceReader:
        """Make the reader."""
        return ObjectSourceReader(json.loads(self.options["objects"]), json.loads(self.options["reader"]), schema)


class ObjectSourceReader(DataSourceReader):
    """Reads each object in a task of its own.

    Args:
        objects: Fields of the :class:`DataObject` of each partition.
        reader: Fields of the :class:`ObjectReader`.
        schema: Columns and types wanted.
    """

    def __init__(self, objects: list[dict[str, Any]], reader: dict[str, Any], schema: StructType) -> None:
        self._objects = objects
        self._reader = reader
        self._schema = schema

    def partitions(self) -> list[InputPartition]:
        """One an object."""
        return [InputPartition(each) for each in self._objects]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read one object."""
        wanted = _arrow_schema(self._schema)
        for batch in ObjectReader(**self._reader).batches(DataObject(**partition.value)):
            table = pa.Table.from_batches([batch]).select(wanted.names)
            yield from table.cast(_with_zone_of(wanted, table.schema)).to_batches()


def _arrow_schema(schema: StructType) -> pa.Schema:
    """Spark's types as Arrow's, with times in UTC: Spark 4.0, as on EMR, gives those without being asked."""
    from pyspark.sql.pandas.types import to_arrow_schema

    asked = {"timezone": "UTC"} if "timezone" in inspect.signature(to_arrow_schema).parameters else {}
    return to_arrow_schema(schema, **asked)


def _with_zone_of(wanted: pa.Schema, found: pa.Schema) -> pa.Schema:
    """Times without a zone stay without one: Spark reads both kinds."""
    fields = []
    for field in wanted:
        is_plain = pa.types.is_timestamp(field.type) and getattr(found.field(field.name).type, "tz", None) is None
        fields.append(pa.field(field.name, pa.timestamp("us") if is_plain else field.type))
    return pa.schema(fields)
