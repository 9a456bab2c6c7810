"""What is asked of an original model: a Spark pipeline, as Spark saves it, with the answers that came with it, and a
scikit-learn model, which answers for itself.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import mlflow.sklearn
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from mlflow.models import infer_signature
from moto import mock_aws
from sklearn.linear_model import LogisticRegression

from slipway import model_judge
from slipway.artifacts.engine import pyfunc_engine
from slipway.artifacts.golden import make_golden_rows
from slipway.artifacts.lock import DependencyLock
from slipway.artifacts.sandbox import Sandbox, SandboxEnvironment
from slipway.documents import DocumentStore
from slipway.errors import ModelNotDeployableError, SandboxError
from slipway.model_judge import ModelJudge
from slipway.release_folder import GOLDEN, ReleaseFolder
from slipway.spec import ServiceSpec

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

BUCKET = "slipway-bucket"
RELEASE, OTHER_RELEASE = "0123456789ab", "ba9876543210"
OWN = SandboxEnvironment.at(Path(sys.executable))
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
        yield ReleaseFolder(DocumentStore(s3, BUCKET), "flights", RELEASE)


def stored(release: str = RELEASE) -> dict[str, bytes]:
    """What a release's folder holds, by name."""
    s3, prefix = boto3.client("s3", region_name="us-east-1"), f"releases/flights/{release}/"
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    keys = [each["Key"] for each in found]
    return {key.removeprefix(prefix): s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def judge(model: Path, folder: ReleaseFolder, *requirements: str, **spec: Any) -> ModelJudge:
    text = "".join(f"{line} --hash=sha256:{'a' * 64}\n" for line in requirements or ("numpy==2.4.6",))
    lock = DependencyLock.from_text(text, key="test", python="3.11", platform="linux/amd64")
    return ModelJudge(model, lock, model.parent / "environments", ServiceSpec.model_validate(SPEC | spec), folder)


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
    with pytest.raises(ModelNotDeployableError, match=r"answers differ.*set `serving: {engine: pyfunc}` in the spec"):
        judge(model, folder).engine()


def test_with_spark_in_the_image_it_keeps_mlflows_own_way(model: Path, folder: ReleaseFolder) -> None:
    store_answers(model, wrong=1e-6)
    engine = judge(model, folder, "pyspark==4.3.0").engine()
    assert (engine.record["engine"], engine.record["jvm"]) == ("pyfunc", True)
    assert engine.title.startswith("pyfunc in a JVM (native: answers differ")


def test_stages_without_a_compiled_form_are_named(model: Path, folder: ReleaseFolder) -> None:
    stages = model / "sparkml" / "stages"
    shutil.rmtree(stages / "1_linear")
    save_stage(stages / "1_linear", "recommendation.ALSModel")
    engine = judge(model, folder, "pyspark==4.3.0").engine()
    assert engine.title == "pyfunc in a JVM (native: no compiled form: stages ALSModel)"
    assert engine.summary() == "engine pyfunc in a JVM (native: no compiled form: stages ALSModel)"


def test_a_service_may_ask_for_spark_itself(model: Path, folder: ReleaseFolder) -> None:
    engine = judge(model, folder, "pyspark==4.3.0", serving={"engine": "pyfunc"}).engine()
    assert engine.title == "pyfunc in a JVM (native: the service asks for pyfunc)"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 2)), columns=["a", "b"])
    classifier = LogisticRegression().fit(frame, frame.a + frame.b > 0)
    path = tmp_path_factory.mktemp("fitted") / "model"
    signature = infer_signature(frame, classifier.predict(frame))
    mlflow.sklearn.save_model(
        classifier, path, signature=signature, input_example=frame.head(2), pip_requirements=["scikit-learn"]
    )
    return path


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many scripts each sandbox process got, with this interpreter's packages in place of an installed lock's."""
    counts: list[int] = []
    run_each = Sandbox.run_each

    def counted(sandbox: Sandbox, scripts: Any, *args: Any, **kwargs: Any) -> Any:
        counts.append(len(scripts))
        return run_each(sandbox, scripts, *args, **kwargs)

    monkeypatch.setattr(Sandbox, "run_each", counted)
    monkeypatch.setattr(model_judge, "environment", lambda *_: OWN)
    return counts


def test_one_process_answers_as_two_do(fitted: Path, folder: ReleaseFolder, processes: list[int]) -> None:
    together = judge(fitted, folder)
    golden, engine = together.golden_answers(), together.engine()
    assert processes == [2]
    assert engine.record["engine"] == "native", engine.summary()
    again = judge(fitted, folder)
    assert (again.golden_answers(), again.engine()) == (golden, engine)
    assert processes == [2]

    # As a try leaves it that was killed before the engine was known.
    other = ReleaseFolder(DocumentStore(boto3.client("s3", region_name="us-east-1"), BUCKET), "flights", OTHER_RELEASE)
    alone = make_golden_rows(Sandbox(OWN), fitted, ServiceSpec.model_validate(SPEC).golden_rows.max_rows)
    other.write_once(GOLDEN, alone.to_json())
    apart = judge(fitted, other)
    assert (apart.golden_answers(), apart.engine()) == (golden, engine)
    assert processes == [2, 1, 1]
    assert stored() == stored(OTHER_RELEASE)
    assert set(stored()) == {"golden.json", "engine/engine.json", "engine/program.json", "engine/program.npz"}


def test_nothing_is_converted_that_is_not_asked_for(fitted: Path, folder: ReleaseFolder, processes: list[int]) -> None:
    assert judge(fitted, folder, serving={"engine": "pyfunc"}).golden_answers().answers
    assert list(stored()) == [GOLDEN]
    other = ReleaseFolder(DocumentStore(boto3.client("s3", region_name="us-east-1"), BUCKET), "flights", OTHER_RELEASE)
    known = other.keep_engine(pyfunc_engine("known already"))
    decided = judge(fitted, other)
    assert decided.golden_answers().answers
    assert decided.engine() == known
    assert processes == [1, 1]


EXPLAINED = {"explain": "contributions"}


def test_answers_are_explained_where_the_compiled_model_can(
    fitted: Path, folder: ReleaseFolder, processes: list[int]
) -> None:
    asked = judge(fitted, folder, serving=EXPLAINED)
    assert asked.golden_answers().answers
    assert asked.engine().record["explains"] == "contributions"


def test_a_model_that_cannot_be_explained_is_refused_before_there_is_an_image(
    fitted: Path, folder: ReleaseFolder, processes: list[int]
) -> None:
    folder.keep_engine(pyfunc_engine("no compiled form"))
    with pytest.raises(ModelNotDeployableError, match=r"cannot be explained: only compiled models can \(.*no compiled"):
        judge(fitted, folder, serving=EXPLAINED).engine()


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module of a model server whose conversion a test writes."""
    package = tmp_path / "slipway_serving"
    (package / "convert").mkdir(parents=True)
    for each in (package, package / "convert"):
        (each / "__init__.py").touch()
    monkeypatch.setattr(model_judge, "serving_app_dir", lambda: package)
    return package / "convert" / "convert.py"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("ctypes.string_at(0)", "was ended by SIGSEGV"),
        ("bytearray(8 << 30)", "needed more than 4,096 MiB of memory"),
    ],
    ids=["crash", "memory"],
)
def test_a_conversion_that_fails_costs_no_golden_row(
    fitted: Path, folder: ReleaseFolder, processes: list[int], converter: Path, body: str, reason: str
) -> None:
    converter.write_text(f"import ctypes, os\ndef convert(model_dir, out_dir, golden_file):\n    {body}\n")
    asked = judge(fitted, folder)
    assert len(asked.golden_answers().answers) == len(asked.golden_answers().rows) > 2
    assert list(stored()) == [GOLDEN]
    engine = asked.engine()
    assert engine.record["engine"] == "pyfunc"
    assert f"the conversion failed: The model's code {reason}" in engine.record["tried"][0]["reason"]
    assert processes == [2, 1]


def test_a_conversion_that_fails_only_in_company_is_tried_alone(
    fitted: Path, folder: ReleaseFolder, processes: list[int], converter: Path
) -> None:
    converter.write_text(
        "import os, sys\n"
        "def convert(model_dir, out_dir, golden_file):\n"
        "    if 'sklearn' in sys.modules: os.abort()\n"
        "    (out_dir / 'program.json').write_text('{}')\n"
        "    (out_dir / 'engine.json').write_text('{\"engine\": \"native\"}')\n"
        "    return {'engine': 'native'}\n"
    )
    asked = judge(fitted, folder)
    assert asked.golden_answers().answers
    assert asked.engine().files == {"engine.json": b'{"engine": "native"}', "program.json": b"{}"}
    assert processes == [2, 1]


def test_a_model_that_does_not_load_is_refused_and_nothing_is_kept(
    fitted: Path, folder: ReleaseFolder, processes: list[int], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(fitted, broken)
    text = (broken / "MLmodel").read_text()
    (broken / "MLmodel").write_text(text.replace("loader_module: mlflow.sklearn", "loader_module: nothing_here"))
    with pytest.raises(
        SandboxError, match=r"No golden rows .* in broken/\. .* raised ModuleNotFoundError: .*nothing_here"
    ):
        judge(broken, folder).golden_answers()
    assert stored() == {}
    assert processes == [2]
