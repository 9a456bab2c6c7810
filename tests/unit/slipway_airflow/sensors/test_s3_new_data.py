"""The batch of a run against a real S3 protocol: what is new, what is known, what is set aside, what stays."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.api.datamodels._generated import DagRunType
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from slipway.ledger import Ledger
from slipway.spec import ServiceSpec
from slipway.training.store import RetrainStore
from slipway_airflow.operators.data_validate import DataValidateOperator
from slipway_airflow.sensors.s3_new_data import S3NewDataSensor
from slipway_airflow.triggers.s3_new_data import S3NewDataTrigger
from slipway_dags.assets import drifted

BUCKET = "slipway-123456789012-eu-central-1"


@pytest.fixture
def retrained(spec) -> ServiceSpec:
    data = {"s3": "s3://lake/flights/", "settle_seconds": 0}
    section = {"data": data, "engine": "python", "target": "late", "time_column": "at"}
    return ServiceSpec.model_validate({**spec.model_dump(exclude_defaults=True), "retrain": section})


@pytest.fixture
def s3(aws):
    client = aws("s3")
    client.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return client


@pytest.fixture
def look(retrained, platform, context):
    def run(run_id: str, **params: Any) -> dict[str, Any]:
        sensor = S3NewDataSensor(task_id="await_data", spec=retrained, platform=platform)
        return sensor.execute(context("await_data", run_id=run_id, **params))

    return run


@pytest.fixture
def bare_project(tmp_path, monkeypatch):
    """A project without expectations, and an MLflow that nobody asks."""
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", '{"conn_type": "http", "host": "127.0.0.1", "port": 9}')


def put(s3, name: str, text: str) -> None:
    s3.put_object(Bucket="lake", Key=f"flights/{name}", Body=text.encode())


GOOD = "size,late,at\n1,0,2026-01-01\n2,1,2026-01-02\n"
BAD = "size,late,at\n1,,2026-01-01\n2,1,2026-01-02\n"


def test_a_run_by_hand_takes_what_there_is_and_keeps_it(s3, look):
    put(s3, "a.csv", GOOD)
    assert look("manual__1") == {"new": 1, "known": 0}
    put(s3, "b.csv", GOOD)
    assert look("manual__1") == {"new": 1, "known": 0}
    assert look("manual__2") == {"new": 2, "known": 0}


def test_nothing_at_all_is_skipped_and_a_waiting_run_defers(s3, look):
    with pytest.raises(AirflowSkipException, match="no data below"):
        look("manual__1")
    with pytest.raises(TaskDeferred) as deferred:
        look("manual__1", overrides={"wait_for_data": True})
    trigger = deferred.value.trigger
    assert isinstance(trigger, S3NewDataTrigger)
    assert "0 of 1 new objects" in trigger.look()
    path, arguments = trigger.serialize()
    assert path.endswith("S3NewDataTrigger")
    put(s3, "a.csv", GOOD)
    assert S3NewDataTrigger(**arguments).look() == ""


def test_a_run_that_waited_long_enough_is_skipped(s3, retrained, platform, context):
    sensor = S3NewDataSensor(task_id="await_data", spec=retrained, platform=platform, poke_seconds=0.01)
    waiting = context("await_data", overrides={"wait_for_data": True})
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(waiting)
    _, arguments = deferred.value.trigger.serialize()
    assert arguments["deadline"] == waiting["dag_run"].start_date.timestamp() + 24 * 3600
    assert deferred.value.timeout.total_seconds() > 24 * 3600

    async def first_event(trigger):
        return (await anext(trigger.run())).payload

    told = asyncio.run(first_event(S3NewDataTrigger(**{**arguments, "deadline": 0.0})))
    assert told == {"status": "late", "message": "0 of 1 new objects are ready"}
    with pytest.raises(AirflowSkipException, match="Waited long enough: 0 of 1"):
        sensor.execute_complete(waiting, told)
    waiting["dag_run"].start_date -= timedelta(hours=25)
    with pytest.raises(AirflowSkipException, match="Nothing to do"):
        sensor.execute(waiting)


def test_a_run_that_drift_asked_for_waits_for_nothing_but_other_data_triggered_and_scheduled_runs_do(
    retrained, platform, context
):
    sensor = S3NewDataSensor(task_id="await_data", spec=retrained, platform=platform)
    woken = context("await_data", user=None)
    assert sensor._waits(woken)
    assert not sensor._waits({**woken, "triggering_asset_events": {drifted("flights"): []}})
    assert sensor._waits({**woken, "triggering_asset_events": {Asset("lake/flights"): []}})
    scheduled = context("await_data")
    scheduled["dag_run"].run_type = DagRunType.SCHEDULED
    assert sensor._waits(scheduled)


@pytest.mark.usefixtures("bare_project")
def test_a_dry_run_sets_nothing_aside(s3, look, retrained, platform, context):
    put(s3, "good.csv", GOOD)
    put(s3, "bad.csv", BAD)
    look("manual__1")
    told = []
    validate = DataValidateOperator(
        task_id="validate_data", spec=retrained, platform=platform, report_only=True, tell=[told.append]
    )

    assert validate.execute(context("validate_data"))["quarantined"] == 1
    assert not RetrainStore(s3, BUCKET, "flights").watermark().quarantined
    assert not told
    validate.report_only = "False"
    for _ in range(2):
        validate.execute(context("validate_data"))
    assert len(told) == 1


@pytest.mark.usefixtures("bare_project")
def test_a_bad_object_is_set_aside_alone_and_the_watermark_passes_it(s3, look, retrained, platform, context):
    put(s3, "good.csv", GOOD)
    put(s3, "bad.csv", BAD)
    look("manual__1")
    validate = DataValidateOperator(task_id="validate_data", spec=retrained, platform=platform)

    found = validate.execute(context("validate_data"))

    assert (found["passed"], found["quarantined"], found["rows"]) == (1, 1, 2)
    store = RetrainStore(s3, BUCKET, "flights")
    assert list(store.watermark().quarantined) == ["flights/bad.csv"]
    assert not store.watermark().taken
    kept = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="retrain/flights/quarantine/")["Contents"]]
    assert sorted(key.rpartition("/")[2] for key in kept) == ["bad.csv", "reasons.json"]
    reasons = next(key for key in kept if key.endswith("reasons.json"))
    assert json.loads(s3.get_object(Bucket=BUCKET, Key=reasons)["Body"].read())["reasons"] == ["1 rows have no 'late'"]
    # The good object was not trained on yet, so the next run sees it again; a repaired object is new.
    assert look("manual__2") == {"new": 1, "known": 0}
    put(s3, "bad.csv", GOOD)
    assert look("manual__3") == {"new": 2, "known": 0}


@pytest.mark.usefixtures("bare_project")
def test_bad_objects_with_the_same_bytes_have_a_copy_and_reasons_each(s3, look, retrained, platform, context):
    for name in ("bad.csv", "worse.csv", "2026/bad.csv"):
        put(s3, name, BAD)
    look("manual__1")
    validate = DataValidateOperator(task_id="validate_data", spec=retrained, platform=platform)
    with pytest.raises(AirflowSkipException, match="3 in quarantine, 0 overwritten"):
        validate.execute(context("validate_data"))
    noted = [each.detail for each in Ledger(s3, BUCKET).read("flights") if each.action == "data_quarantined"]
    assert len({each["copy"] for each in noted}) == 3
    sources = set()
    for each in noted:
        bucket, _, key = each["copy"].removeprefix("s3://").partition("/")
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BAD.encode()
        reasons = f"{key.rpartition('/')[0]}/reasons.json"
        sources.add(json.loads(s3.get_object(Bucket=bucket, Key=reasons)["Body"].read())["source"])
    assert sources == {f"s3://lake/flights/{name}" for name in ("bad.csv", "worse.csv", "2026/bad.csv")}


@pytest.mark.usefixtures("bare_project")
def test_only_bad_objects_end_the_run_there(s3, look, retrained, platform, context):
    put(s3, "bad.csv", BAD)
    look("manual__1")
    validate = DataValidateOperator(task_id="validate_data", spec=retrained, platform=platform)
    with pytest.raises(AirflowSkipException, match="the champion stays"):
        validate.execute(context("validate_data"))
    with pytest.raises(AirflowSkipException, match="no data below"):
        look("manual__2")
