"""What is asked of an original model: here a Spark pipeline, as Spark saves it, with the answers that came with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet
import pytest
from moto import mock_aws

from slipway.artifacts.lock import DependencyLock
from slipway.documents import DocumentStore
from slipway.errors import ModelNotDeployableError
from slipway.model_judge import ModelJudge
from slipway.release_folder import ReleaseFolder
from slipway.spec import ServiceSpec

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

BUCKET = "slipway-bucket"
COEFFICIENTS, INTERCEPT = [2.0, -0.5], 0.25
MLMODEL = """
flavors:
  python_function: {data: sparkml, env: {conda: conda.yaml}, loader_module: mlflow.spark, python_version: 3.11.7}
  spark: {code: null, model_data: sparkml, pyspark_version: 4.3.0}
signature:
  inputs: '[{"type": "double", "name": "a", "required": true}, {"type": "double", "name": "b", "required": true}]'
  outputs: '[{"type": "double", "required": true}]'
"""
SPEC = {"name": "flights", "model": "flights", "owner": "team@example.com"}


def save_stage(folder: Path, kind: str, **params: Any) -> None:
    (folder / "metadata").mkdir(parents=True)
    document = {"class": f"org.apache.spark.ml.{kind}", "paramMap": params, "defaultParamMap": {}}
    (folder / "metadata" / "part-00000").write_text(json.dumps(document) + "\n")


def save_pipeline(folder: Path) -> None:
    save_stage(folder, "PipelineModel", stageUids=["assembler", "linear"])
    stages = folder / "stages"
    assembler = {"inputCols": ["a", "b"], "outputCol": "features", "handleInvalid": "error"}
    save_stage(stages / "0_assembler", "feature.VectorAssembler", **assembler)
    columns = {"featuresCol": "features", "predictionCol": "prediction"}
    save_stage(stages / "1_linear", "regression.LinearRegressionModel", **columns)
    (stages / "1_linear" / "data").mkdir()
    vector = {"type": 1, "size": None, "indices": None, "values": COEFFICIENTS}
    row = {"intercept": INTERCEPT, "coefficients": vector, "scale": 1.0}
    pyarrow.parquet.write_table(pa.Table.from_pylist([row]), stages / "1_linear" / "data" / "part-0.parquet")


def answers(rows: list[list[float]]) -> list[float]:
    return [COEFFICIENTS[0] * a + COEFFICIENTS[1] * b + INTERCEPT for a, b in rows]


def store_answers(model: Path, *, wrong: float = 0.0) -> None:
    rows = [[0.5 * number, 3.0 - number] for number in range(12)]
    found = answers(rows)
    found[5] += wrong
    request = {"dataframe_split": {"columns": ["a", "b"], "data": rows}}
    csv = "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows)
    golden = {"format": 1, "columns": ["a", "b"], "rows": rows, "answers": found, "json": request}
    document = {**golden, "csv": csv, "csv_answers": found, "csv_problem": "", "from_example": 0}
    (model / "golden.json").write_text(json.dumps(document))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    save_pipeline(folder / "sparkml")
    (folder / "MLmodel").write_text(MLMODEL)
    store_answers(folder)
    return folder


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseFolder]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        yield ReleaseFolder(DocumentStore(s3, BUCKET), "flights", "0123456789ab")


def judge(model: Path, folder: ReleaseFolder, *requirements: str) -> ModelJudge:
    text = "".join(f"{line} --hash=sha256:{'a' * 64}\n" for line in requirements or ("numpy==2.4.6",))
    lock = DependencyLock.from_text(text, key="test", python="3.11", platform="linux/amd64")
    return ModelJudge(model, lock, model.parent / "environments", ServiceSpec.model_validate(SPEC), folder)


def test_a_spark_pipeline_is_compiled_against_the_answers_that_came_with_it(model: Path, folder: ReleaseFolder) -> None:
    asked = judge(model, folder)
    golden, engine = asked.golden_answers(), asked.engine()
    assert golden.answers[2] == pytest.approx(2 * 1.0 - 0.5 * 1.0 + 0.25)
    assert engine.record["engine"] == "native", engine.summary()
    assert engine.record["proof"] == "stored answers of the original model"
    assert engine.record["parity"]["rows"] == 24


def test_what_was_chosen_stays(model: Path, folder: ReleaseFolder) -> None:
    first = judge(model, folder).engine()
    (model / "golden.json").unlink()
    again = judge(model, folder)
    assert again.engine() == first
    assert again.golden_answers().answers


def test_a_spark_pipeline_without_answers_is_refused(model: Path, folder: ReleaseFolder) -> None:
    (model / "golden.json").unlink()
    with pytest.raises(ModelNotDeployableError, match=r"no golden.json among the model's files"):
        judge(model, folder).golden_answers()


def test_a_pipeline_that_answers_otherwise_is_not_served_without_spark(model: Path, folder: ReleaseFolder) -> None:
    store_answers(model, wrong=1e-6)
    with pytest.raises(ModelNotDeployableError, match="answers differ"):
        judge(model, folder).engine()


def test_with_spark_in_the_image_it_keeps_mlflows_own_way(model: Path, folder: ReleaseFolder) -> None:
    store_answers(model, wrong=1e-6)
    assert judge(model, folder, "pyspark==4.3.0").engine().record["engine"] == "pyfunc"
