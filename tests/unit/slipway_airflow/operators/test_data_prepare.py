"""The service's own function over real objects: once an object, again when it changes; what it refuses is set aside."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest

from slipway.errors import InvalidInputError, PermanentError
from slipway.spec import ServiceSpec
from slipway.training.store import RetrainStore
from slipway_airflow.operators.data_prepare import DataPrepareOperator
from slipway_airflow.operators.data_validate import DataValidateOperator
from slipway_airflow.operators.model_refit import RetrainOperator
from slipway_airflow.sensors.s3_new_data import S3NewDataSensor

BUCKET = "slipway-123456789012-eu-central-1"
CODE = """
from slipway_trainer.problem import BadDataError

def double(rows):
    if (rows["size"] < 0).any():
        raise BadDataError("sizes below zero")
    return rows.assign(size=rows["size"] * {factor}, late=1)
"""


@pytest.fixture
def prepared_service(spec, aws, tmp_path, monkeypatch):
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", '{"conn_type": "http", "host": "127.0.0.1", "port": 9}')
    (tmp_path / "retrainers").mkdir()
    section = {
        "data": {"s3": "s3://lake/flights/", "settle_seconds": 0},
        "engine": "python",
        "target": "late",
        "time_column": "at",
        "prepare": {"function": "own.py:double"},
    }
    aws("s3").create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return ServiceSpec.model_validate({**spec.model_dump(exclude_defaults=True), "retrain": section})


@pytest.fixture
def run(prepared_service, platform, context):
    """Run tasks of one run."""

    def run(run_id: str, *kinds: type) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind in kinds:
            task = kind(task_id="task", spec=prepared_service, platform=platform)
            found = task.execute(context("task", run_id=run_id))
        return found

    return run


def put(aws, name: str, *sizes: int) -> None:
    text = "size,at\n" + "".join(f"{size},2026-01-0{day}\n" for day, size in enumerate(sizes, 1))
    aws("s3").put_object(Bucket="lake", Key=f"flights/{name}", Body=text.encode())


def test_objects_are_prepared_once_and_again_when_the_function_changes(aws, run, tmp_path):
    code = tmp_path / "retrainers" / "own.py"
    code.write_text(CODE.format(factor=2))
    put(aws, "a.csv", 1, 2)
    put(aws, "bad.csv", -1)
    aws("s3").put_object(Bucket="lake", Key="flights/half.parquet", Body=b"PAR1")
    told = run("manual__1", S3NewDataSensor, DataPrepareOperator)
    assert told == {"prepared": 2, "reused": 0, "refused": 1}
    # The target is the function's own: the objects themselves have none.
    found = run("manual__1", DataValidateOperator)
    assert (found["passed"], found["quarantined"], found["rows"]) == (1, 2, 2)
    store = RetrainStore(aws("s3"), BUCKET, "flights")
    assert sorted(store.watermark().quarantined) == ["flights/bad.csv", "flights/half.parquet"]
    problems = {each["key"]: each["problems"] for each in store.read("manual__1", "validation.json")["objects"]}
    assert problems["flights/bad.csv"] == ["prepare refuses it: sizes below zero"]
    assert "cannot be read as parquet" in problems["flights/half.parquet"][0]

    put(aws, "b.csv", 5)
    assert run("manual__2", S3NewDataSensor, DataPrepareOperator) == {"prepared": 1, "reused": 1, "refused": 0}
    code.write_text(CODE.format(factor=3))
    assert run("manual__3", S3NewDataSensor, DataPrepareOperator) == {"prepared": 2, "reused": 0, "refused": 0}
    entry = store.read("manual__3", "prepared.json")["objects"]["flights/b.csv"]
    body = aws("s3").get_object(Bucket=BUCKET, Key=entry["key"])["Body"].read()
    assert pd.read_parquet(io.BytesIO(body))["size"].tolist() == [15]


def test_what_was_trained_on_and_is_refused_by_a_new_function_is_left_out(
    aws, run, tmp_path, prepared_service, platform
):
    (tmp_path / "retrainers" / "own.py").write_text(CODE.format(factor=2))
    put(aws, "a.csv", -1)
    put(aws, "b.csv", 1)
    run("manual__1", S3NewDataSensor)
    store = RetrainStore(aws("s3"), BUCKET, "flights")
    batch = store.read("manual__1", "batch.json")
    store.write("manual__1", "batch.json", {"new": [], "known": batch["new"]})
    assert run("manual__1", DataPrepareOperator)["refused"] == 1
    refit = RetrainOperator(task_id="refit", spec=prepared_service, platform=platform)
    assert [each.key for each in refit._objects("manual__1", refit.prepared("manual__1"))] == ["flights/b.csv"]


def test_a_fault_of_the_function_sets_nothing_aside(aws, run, tmp_path):
    code = tmp_path / "retrainers" / "own.py"
    put(aws, "a.csv", 1)
    with pytest.raises(InvalidInputError, match=r"own.py cannot be read"):
        run("manual__1", S3NewDataSensor, DataPrepareOperator)
    code.write_text("def double(rows):\n    return rows['nothing']\n")
    with pytest.raises(PermanentError, match=r"own.py:double fails: KeyError: 'nothing'"):
        run("manual__1", DataPrepareOperator)
    code.write_text("def double(rows):\n    return len(rows)\n")
    with pytest.raises(PermanentError, match="returns int; expected a pandas frame"):
        run("manual__1", DataPrepareOperator)
    assert RetrainStore(aws("s3"), BUCKET, "flights").read("manual__1", "prepared.json") is None
