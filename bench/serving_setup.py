"""What the serving benchmark needs: environments, models, servers that run, load, and what it cost them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from bench.peers.model_servers import JSON, Launch, ModelServer
from bench.report import ROOT
from slipway.artifacts.resolve import uv_command

PYTHON = "3.11"
SCIKIT = ("scikit-learn==1.9.1", "pandas==3.1.1", "numpy==2.4.6")
PYSPARK = "pyspark[connect]==4.3.0"  # without grpc, MLflow's spark flavor ends the process while it imports
MLFLOW = "3.17.2"
PLAIN = "-plain"  # a model's folder without our engine
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "slipway": (*SCIKIT, f"mlflow-skinny=={MLFLOW}", str(ROOT / "containers" / "serving")),
    "slipway-spark": (*SCIKIT, f"mlflow-skinny=={MLFLOW}", PYSPARK, str(ROOT / "containers" / "serving")),
    "mlflow": (*SCIKIT, f"mlflow=={MLFLOW}", "gunicorn", "uvicorn-worker", PYSPARK),
    "mlserver": (*SCIKIT, f"mlflow=={MLFLOW}", "mlserver", "mlserver-mlflow"),
    "bentoml": (*SCIKIT, "cloudpickle", "bentoml>=1.4"),
}
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

TRAIN = """
import sys, mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows, target = load_breast_cancer(return_X_y=True, as_frame=True)
models = {
    "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(100, random_state=0),
    "boosting": GradientBoostingClassifier(random_state=0),
}
for name, model in models.items():
    model.fit(rows, target)
    mlflow.sklearn.save_model(model, f"{sys.argv[1]}/{name}", signature=infer_signature(rows, model.predict(rows)),
        input_example=rows[:5], pip_requirements=["scikit-learn"], serialization_format="cloudpickle")
"""
TRAIN_SPARK = """
import sys, mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from pyspark.ml import Pipeline
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import Bucketizer, Imputer, MinMaxScaler, PCA, StandardScaler, VectorAssembler
from pyspark.sql import SparkSession
from sklearn.datasets import load_breast_cancer

builder = SparkSession.builder.master("local[1]").config("spark.driver.host", "127.0.0.1")
spark = builder.config("spark.ui.enabled", "false").getOrCreate()
rows, target = load_breast_cancer(return_X_y=True, as_frame=True)
names = list(rows.columns)
rows["target"] = target.astype(float)
stages = [
    Imputer(inputCols=names[:2], outputCols=["first", "second"]),
    Bucketizer(splits=[-1e9, 10.0, 15.0, 1e9], inputCol=names[2], outputCol="bucket"),
    VectorAssembler(inputCols=["first", "second", "bucket", *names[3:]], outputCol="raw"),
    StandardScaler(inputCol="raw", outputCol="scaled", withMean=True),
    MinMaxScaler(inputCol="scaled", outputCol="ranged"),
    PCA(k=10, inputCol="ranged", outputCol="few"),
    VectorAssembler(inputCols=["few", "ranged"], outputCol="features"),
    LogisticRegression(labelCol="target"),
]
fitted = Pipeline(stages=stages).fit(spark.createDataFrame(rows))
inputs = Schema([ColSpec("double", name) for name in names])
signature = ModelSignature(inputs=inputs, outputs=Schema([ColSpec("double")]))
mlflow.spark.save_model(fitted, f"{sys.argv[1]}/spark", signature=signature, pip_requirements=["pyspark"])
"""


def make_environments(folder: Path, names: set[str]) -> None:
    """Make the virtual environments that are missing, with bytecode."""
    for name in sorted(names):
        if (folder / name / "ready").exists():
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        subprocess.run([uv_command(), "venv", "-q", "--python", PYTHON, str(folder / name)], check=True)
        python = str(folder / name / "bin" / "python")
        install = [uv_command(), "pip", "install", "-q", "--compile-bytecode", "--python", python]
        subprocess.run([*install, *REQUIREMENTS[name]], check=True)
        (folder / name / "ready").touch()


def make_models(folder: Path, environments: Path, *, spark: bool) -> None:
    """Train the models that are missing and choose our engine for each, all in the environments that serve them."""
    folder.mkdir(parents=True, exist_ok=True)
    python = str(environments / "mlflow" / "bin" / "python")
    environment = {**os.environ, **QUIET}
    if not (folder / "boosting" / "MLmodel").exists():
        subprocess.run([python, "-c", TRAIN, str(folder)], check=True, env=environment, cwd=folder)
    if spark and not (folder / "spark" / "MLmodel").exists():
        subprocess.run([python, "-c", TRAIN_SPARK, str(folder)], check=True, env=environment, cwd=folder)
    for model in sorted(path.parent for path in folder.glob("*/MLmodel")):
        if not model.name.endswith(PLAIN) and not (model / "engine.json").exists():
            name = "slipway-spark" if model.name == "spark" else "slipway"
            _convert(model, str(environments / name / "bin" / "python"))


def _convert(model: Path, python: str) -> None:
    path = str(ROOT / "containers" / "serving" / "src")
    command = [python, "-m", "slipway_serving", "convert", str(model), str(model)]
    subprocess.run(command, check=True, env={**os.environ, **QUIET, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)


def plain_copy(model: Path) -> Path:
    """Return the model without a compiled engine."""
    copy = model.parent / f"{model.name}{PLAIN}"
    if not copy.exists():
        shutil.copytree(model, copy, ignore=shutil.ignore_patterns("engine.json", "program.*"))
    return copy


@dataclass
class Running:
    """A server that answers."""

    system: ModelServer
    launch: Launch
    port: int
    process: psutil.Process
    cold_start_seconds: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.launch.path}"

    def ask(self, body: bytes, form: str) -> httpx.Response:
        return httpx.post(self.url, content=body, headers={"content-type": form}, timeout=120)

    def tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self.tree()))

    def memory_bytes(self) -> int:
        """Proportional set size of all processes: what the server costs, shared pages counted once."""
        return sum(process.memory_full_info().pss for process in self.tree())


@contextmanager
def running(system: ModelServer, model: Path, port: int, folder: Path) -> Iterator[Running]:
    """Start a server, wait until it is healthy, and stop it in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    launch = system.launch(model, port, folder)
    started = time.perf_counter()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            launch.command, env={**os.environ, **QUIET, **launch.environment}, stdout=log, stderr=log, cwd=folder,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_healthy(process, f"http://127.0.0.1:{port}{launch.ping}", folder / "log")
        yield Running(system, launch, port, psutil.Process(process.pid), time.perf_counter() - started)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_healthy(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{url} did not become healthy:\n{log.read_text()[-3000:]}")


def free_port() -> int:
    """Return the first of three free ports in a row."""
    while True:
        with socket.socket() as first, socket.socket() as second, socket.socket() as third:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                third.bind(("127.0.0.1", port + 2))
                return port


@dataclass(frozen=True)
class Load:
    """What one window of load found."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    bad: int


_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def wrk(url: str, body: bytes, form: str, connections: int, seconds: float, folder: Path) -> Load:
    """Keep ``connections`` busy with one request for some seconds, by wrk."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "body").write_bytes(body)
    script = folder / "post.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{form}"\n'
        f'local file = io.open("{folder}/body", "rb")\nwrk.body = file:read("*a")\nfile:close()\n'
    )
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{round(seconds) or 1}s",
        "--timeout",
        "60s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests = int(_find(r"(\d+) requests in", text))
    bad = int(_find(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad += sum(map(int, errors.groups())) if errors else 0
    rate = float(_find(r"Requests/sec:\s+([\d.]+)", text))
    return Load(requests, rate, _latency("50%", text), _latency("99%", text), bad)


def _find(pattern: str, text: str, default: str | None = None) -> str:
    found = re.search(pattern, text)
    if found is None and default is None:
        raise RuntimeError(f"wrk said nothing like {pattern}: {text}")
    return found[1] if found else str(default)


def _latency(percentile: str, text: str) -> float:
    found = re.search(rf"^\s*{percentile}\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


def sample_rows(model: Path, count: int) -> tuple[list[str], list[list[float]]]:
    """Return column names and rows near the linear model's saved example."""
    example = json.loads((model.parent / "linear" / "serving_input_example.json").read_text())["dataframe_split"]
    rows = [[round(value * (1 + 0.001 * index), 6) for value in example["data"][index % 5]] for index in range(count)]
    return example["columns"], rows


__all__ = [
    "JSON",
    "Load",
    "Running",
    "free_port",
    "make_environments",
    "make_models",
    "plain_copy",
    "running",
    "sample_rows",
    "wrk",
]
