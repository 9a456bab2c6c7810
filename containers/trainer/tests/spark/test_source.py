"""Objects come to Spark as they are: each by a task of its own, times as instants, and errors in our words."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from slipway_trainer.foreign import explain
from slipway_trainer.job import DataObject
from slipway_trainer.objects import ObjectReader

pytestmark = [pytest.mark.spark, pytest.mark.long]
NOON = datetime.fromisoformat("2024-03-01T12:00:00")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    from slipway_trainer.spark.session import start_session, stop_session

    somewhere = {"spark.master": "local[2]", "spark.sql.session.timeZone": "Asia/Tokyo"}
    session = start_session("source", cache_dir=tmp_path_factory.mktemp("java"), configuration=somewhere)
    yield session
    stop_session(session)


@pytest.fixture
def objects(tmp_path):
    """Two objects, one with times in a zone."""
    found = []
    for number, zone in enumerate([None, "UTC"]):
        rows = {
            "size": pa.array([number + 0.5, None]),
            "at": pa.array([NOON, NOON], pa.timestamp("ms")).cast(pa.timestamp("us", zone)),
            "colour": ["red", "blue"],
        }
        path = tmp_path / f"part-{number}.parquet"
        parquet.write_table(pa.table(rows), path)
        found.append(DataObject(str(path)))
    return found


def test_rows_of_all_objects_in_their_order_with_the_columns_that_are_wanted(spark, objects):
    from pyspark.sql import functions as fn

    from slipway_trainer.spark.source import object_rows

    wanted = pa.schema({"colour": pa.string(), "size": pa.float64(), "at": pa.timestamp("us")})
    frame = object_rows(spark, objects, ObjectReader(), wanted)
    assert frame.columns == ["colour", "size", "at"]
    found = frame.select(fn.spark_partition_id(), "colour", "size", fn.unix_micros("at")).collect()
    noon = int(NOON.replace(tzinfo=UTC).timestamp() * 1_000_000)
    assert [tuple(row) for row in found] == [
        (0, "red", 0.5, noon),
        (0, "blue", None, noon),
        (1, "red", 1.5, noon),
        (1, "blue", None, noon),
    ]


def test_an_object_that_cannot_be_read_is_named(spark, objects, tmp_path):
    from slipway_trainer.spark.source import object_rows

    (tmp_path / "part-1.parquet").write_bytes(b"PAR1 and no more")
    frame = object_rows(spark, objects, ObjectReader(), pa.schema({"size": pa.float64()}))
    with pytest.raises(Exception, match=r"part-1\.parquet") as raised:
        frame.collect()
    kind, message = explain(raised.value)
    assert kind == "data"
    assert "part-1.parquet cannot be read as parquet" in message
