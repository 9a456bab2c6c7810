"""Landing a table of Spark's catalog: each row once, with equal times, late rows and equal rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from slipway_trainer.job import Job, Landing
from slipway_trainer.problem import BadDataError, TrainingError

pytestmark = [pytest.mark.spark, pytest.mark.long]
NOON = datetime.fromisoformat("2026-01-01T12:00:00")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    from slipway_trainer.spark.session import start_session

    configuration = {"spark.master": "local[1]", "spark.sql.session.timeZone": "Europe/Berlin"}
    configuration["spark.sql.shuffle.partitions"] = "1"
    session = start_session("landing", cache_dir=tmp_path_factory.mktemp("java"), configuration=configuration)
    yield session
    session.stop()


@pytest.fixture
def orders(spark, tmp_path):
    """A table under a name of the catalog; called with its rows, and landed as one run after the other does."""
    found: dict[str, object] = {"reading": 0, "through": None, "tail": None, "columns": ()}

    def land(*rows: tuple, columns: str = "size double, at timestamp") -> list[tuple]:
        from slipway_trainer.spark import landing

        spark.createDataFrame(list(rows), columns).createOrReplaceTempView("orders")
        found["reading"] += 1
        wanted = Landing(
            "orders",
            "at",
            f"{tmp_path}/{found['reading']:06d}-",
            through=found["through"],
            tail=found["tail"],
            columns=tuple(found["columns"]),
        )
        result = landing._land(spark, Job("s", "m", "s/1", "spark", (), landing=wanted), wanted)
        found.update({name: result[name] for name in ("through", "tail", "columns")})
        read = [pd.read_parquet(part["key"]) for part in result["parts"]]
        assert [len(frame) for frame in read] == [part["rows"] for part in result["parts"]]
        assert all(Path(part["key"]).stat().st_size == part["size"] for part in result["parts"])
        return [tuple(row) for frame in read for row in frame["size"].to_frame().itertuples(index=False)]

    return land


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_each_row_is_landed_once(orders, monkeypatch):
    first = [(1.0, at(-300)), (2.0, at(0)), (2.0, at(0))]
    assert Counter(orders(*first)) == Counter([(1.0,), (2.0,), (2.0,)])
    # An equal row more, one that shares the highest time, one that commits late, one that is newer.
    second = [*first, (2.0, at(0)), (3.0, at(0)), (4.0, at(-59)), (5.0, at(30))]
    assert Counter(orders(*second)) == Counter([(2.0,), (3.0,), (4.0,), (5.0,)])
    # Later than allowed is missed; what is known is recognised also when a column is added, by its old columns.
    wider = [(*row, "new") for row in [*second, (6.0, at(-31)), (7.0, at(-29))]]
    assert orders(*wider, columns="size double, at timestamp, note string") == [(7.0,)]
    assert orders(*wider, columns="size double, at timestamp, note string") == []
    # Without the column that the digests are of too, only later rows are new.
    assert orders((8.0, at(40)), (9.0, at(20))) == [(8.0,)]


def test_rows_land_in_objects_of_a_size(orders, monkeypatch):
    from slipway_trainer.spark import landing

    monkeypatch.setattr(landing, "PART_ROWS", 10)
    rows = [(1.0, at(0))] * 100
    assert orders(*rows) == [(1.0,)] * 100


def test_times_as_text_and_as_numbers_are_times_too(orders):
    assert orders((1.0, "2026-01-01 12:00:00"), columns="size double, at string") == [(1.0,)]
    assert orders((1.0, "2026-01-01 12:00:00"), (2.0, "2026-01-01 12:00:01"), columns="size double, at string") == [
        (2.0,)
    ]


def test_what_cannot_be_landed_is_named(spark, orders):
    from slipway_trainer.spark import landing

    with pytest.raises(BadDataError, match="1 rows of orders have no 'at'"):
        orders((1.0, None))
    with pytest.raises(BadDataError, match="1 rows of orders have no 'at', or one that is no time"):
        orders((1.0, "soon"), columns="size double, at string")
    wanted = Landing("nowhere.orders", "at", "/nowhere/")
    job = Job("s", "m", "s/1", "spark", ())
    with pytest.raises(TrainingError, match=r"table nowhere.orders cannot be read from Spark's catalog"):
        landing._land(spark, job, wanted)
    with pytest.raises(TrainingError, match="has no column 'when'; it has size, at"):
        landing._land(spark, job, replace(wanted, table="orders", column="when"))
