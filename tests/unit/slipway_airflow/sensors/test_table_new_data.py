"""Rows of a SQLite table, read through an Airflow connection and landed in an S3 protocol."""

from __future__ import annotations

import io
import json
import sqlite3
from collections import Counter
from typing import Any

import pandas as pd
import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from slipway.errors import DatabaseUnavailableError, InvalidInputError, PermanentError, StateConflictError
from slipway.spec import ServiceSpec
from slipway.training import land as landing_of_tables
from slipway.training.landing import LandingStore
from slipway.training.store import RetrainStore
from slipway_airflow.operators.data_validate import DataValidateOperator
from slipway_airflow.sensors.table_new_data import TableNewDataSensor
from slipway_airflow.triggers.table_new_data import TableNewDataTrigger

BUCKET = "slipway-123456789012-eu-central-1"
SOURCE = "orders_db/orders/changed"


@pytest.fixture
def database(tmp_path, monkeypatch):
    path = tmp_path / "orders.db"
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("create table orders (size real, late integer, changed text)")
    yield connection
    connection.close()


def insert(database, *moments: str, late: int | None = 1, size: float = 1.0) -> None:
    database.executemany("insert into orders values (?, ?, ?)", [(size, late, moment) for moment in moments])


def spec_with(spec, **data: Any) -> ServiceSpec:
    jdbc = {"connection": "orders_db", "table": "orders", "watermark_column": "changed"}
    section = {"data": {"jdbc": jdbc, **data}, "engine": "python", "target": "late", "time_column": "changed"}
    return ServiceSpec.model_validate({**spec.model_dump(exclude_defaults=True), "retrain": section})


@pytest.fixture
def retrained(spec) -> ServiceSpec:
    return spec_with(spec)


@pytest.fixture
def s3(aws):
    return aws("s3")


@pytest.fixture
def look(retrained, platform, context):
    def run(run_id: str, **params: Any) -> dict[str, Any]:
        sensor = TableNewDataSensor(task_id="await_data", spec=retrained, platform=platform)
        return sensor.execute(context("await_data", run_id=run_id, **params))

    return run


def landed(s3) -> list[tuple[Any, ...]]:
    """All rows that count, in the order of their landing."""
    cursor, _ = LandingStore(s3, BUCKET, "flights").read(SOURCE)
    rows = []
    for part in cursor.landed:
        body = s3.get_object(Bucket=BUCKET, Key=part.object.key)["Body"].read()
        found = pd.read_parquet(io.BytesIO(body))
        assert len(found) == part.rows
        rows += list(found.itertuples(index=False, name=None))
    return rows


def test_new_rows_are_landed_once_with_those_that_share_the_highest_value_and_those_that_come_late(s3, database, look):
    insert(database, "2026-01-01 10:00:00", "2026-01-01 11:00:00")
    assert look("manual__1") == {"new": 1, "known": 0}
    assert look("manual__1") == {"new": 1, "known": 0}
    insert(database, "2026-01-01 11:00:00", "2026-01-01 10:15:00", "2026-01-01 12:00:00")
    # Nothing was trained on yet: both landed objects are new.
    assert look("manual__2") == {"new": 2, "known": 0}
    assert look("manual__3") == {"new": 2, "known": 0}
    in_table = database.execute("select * from orders").fetchall()
    assert Counter(landed(s3)) == Counter(in_table)


def test_a_reading_that_was_killed_before_it_counted_leaves_nothing_behind_that_counts(s3, database, look, monkeypatch):
    insert(database, "2026-01-01 10:00:00")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LandingStore, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            look("manual__1")
    assert landed(s3) == []
    insert(database, "2026-01-01 10:00:00")
    assert look("manual__1") == {"new": 1, "known": 0}
    assert len(landed(s3)) == 2


def test_of_two_that_read_at_once_only_one_counts(s3, database, look, monkeypatch):
    insert(database, "2026-01-01 10:00:00")
    original = landing_of_tables.pack

    def overtaken(digests):
        monkeypatch.setattr(landing_of_tables, "pack", original)
        look("manual__2")
        return original(digests)

    monkeypatch.setattr(landing_of_tables, "pack", overtaken)
    with pytest.raises(StateConflictError):
        look("manual__1")
    assert look("manual__1") == {"new": 1, "known": 0}
    assert len(landed(s3)) == 1


def test_rows_land_in_objects_of_a_size_whatever_their_types(s3, database, look, monkeypatch):
    monkeypatch.setattr(landing_of_tables, "FETCHED_ROWS", 2)
    monkeypatch.setattr(landing_of_tables, "_FETCHES_AN_OBJECT", 2)
    insert(database, *(f"2026-01-01 10:00:{second:02d}" for second in range(9)))
    insert(database, "2026-01-01 10:01:00", size="wide")
    assert look("manual__1") == {"new": 3, "known": 0}
    assert sorted(str(row[0]) for row in landed(s3)) == ["1.0"] * 9 + ["wide"]


def test_a_scheduled_run_waits_for_enough_rows_and_counts_those_landed_before(s3, database, spec, platform, context):
    waiting = spec_with(spec, min_rows=3)
    sensor = TableNewDataSensor(task_id="await_data", spec=waiting, platform=platform)
    scheduled = context("await_data")
    scheduled["dag_run"].run_type = DagRunType.SCHEDULED
    insert(database, "2026-01-01 10:00:00", "2026-01-01 10:30:00")
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(scheduled)
    path, arguments = deferred.value.trigger.serialize()
    assert path.endswith("TableNewDataTrigger")
    trigger = TableNewDataTrigger(**arguments)
    assert trigger.look() == "2 of 3 new rows are there"
    insert(database, "2026-01-01 10:30:00")
    assert trigger.look() == ""
    assert sensor.execute_complete(scheduled, {"status": "ready"}) == {"new": 2, "known": 0}


@pytest.mark.usefixtures("s3", "database")
def test_an_empty_table_is_nothing_to_do(look):
    with pytest.raises(AirflowSkipException, match="0 of 1 new rows are there"):
        look("manual__1")


def test_refused_rows_go_to_quarantine_and_do_not_come_back_until_they_are_changed(
    s3, database, look, retrained, platform, context, tmp_path, monkeypatch
):
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", '{"conn_type": "http", "host": "127.0.0.1", "port": 9}')
    insert(database, "2026-01-01 10:00:00", late=None)
    look("manual__1")
    validate = DataValidateOperator(task_id="validate_data", spec=retrained, platform=platform)
    with pytest.raises(AirflowSkipException, match="the champion stays"):
        validate.execute(context("validate_data"))
    (key,) = RetrainStore(s3, BUCKET, "flights").watermark().quarantined
    assert key.startswith("retrain/flights/landed/000001-00000-")
    with pytest.raises(AirflowSkipException, match="0 of 1 new rows"):
        look("manual__2")
    database.execute("update orders set late = 0, changed = '2026-01-01 10:05:00'")
    assert look("manual__3") == {"new": 1, "known": 0}
    assert landed(s3)[-1] == (1.0, 0, "2026-01-01 10:05:00")


def test_what_cannot_be_read_is_named(s3, database, spec, platform, context, monkeypatch, look):
    def read(**changes: str) -> None:
        jdbc = {"connection": "orders_db", "table": "orders", "watermark_column": "changed", **changes}
        sensor = TableNewDataSensor(task_id="await_data", spec=spec_with(spec, jdbc=jdbc), platform=platform)
        sensor.execute(context("await_data"))

    with pytest.raises(InvalidInputError, match="nothing of connection 'orders_db': there is no such table"):
        read(table="nothing")
    with pytest.raises(InvalidInputError, match="no column 'seen'; there are size, late, changed"):
        read(watermark_column="seen")
    with pytest.raises(InvalidInputError, match="There is no connection 'elsewhere'"):
        read(connection="elsewhere")
    monkeypatch.setenv("AIRFLOW_CONN_WEB", '{"conn_type": "http", "host": "127.0.0.1"}')
    with pytest.raises(InvalidInputError, match="expected one of an SQL database"):
        read(connection="web")
    monkeypatch.setenv("AIRFLOW_CONN_ODD", '{"conn_type": "oddbase", "host": "127.0.0.1"}')
    with pytest.raises(InvalidInputError, match="install the provider package"):
        read(connection="odd")
    monkeypatch.setenv("AIRFLOW_CONN_GONE", '{"conn_type": "sqlite", "host": "/nowhere/orders.db"}')
    with pytest.raises(DatabaseUnavailableError, match="unable to open"):
        read(connection="gone")
    database.execute("insert into orders values (1, 1, null)")
    with pytest.raises(InvalidInputError, match="1 rows have no 'changed'"):
        read()


def test_lost_digests_stop_the_landing_instead_of_doubling_rows(s3, database, look):
    insert(database, "2026-01-01 10:00:00")
    look("manual__1")
    cursor, _ = LandingStore(s3, BUCKET, "flights").read(SOURCE)
    s3.delete_object(Bucket=BUCKET, Key=cursor.tail)
    with pytest.raises(PermanentError, match="is gone, so landed rows cannot be recognised"):
        look("manual__2")
