"""A whole AWS stand-in that hosts endpoints, and a service whose model is a few lines of Python."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from botocore.config import Config
from mlflow import MlflowClient

sys.path.append(str(Path(__file__).parents[3] / "containers" / "localaws" / "tests"))

import tiny_image

from slipway.artifacts.golden import GoldenRows
from slipway.ledger import Ledger
from slipway.platform import Platform
from slipway.release import Release, ReleaseInputs, ReleaseStore, release_id
from slipway.spec import ServiceSpec
from slipway.state import EndpointState, StateStore

if TYPE_CHECKING:
    from tests.integration.slipway_airflow.promotions import Promotion

REGION = "eu-central-1"
BUCKET = f"slipway-123456789012-{REGION}"

# Answers weight × x for each row. The weight is baked into the image; all else is told by the environment.
MODEL = """
import http.server, json, os, sys, time

WEIGHT = {weight}

def rows(content_type, body):
    if content_type == "application/json":
        return json.loads(body)["dataframe_split"]["data"]
    return [line.split(",") for line in body.decode().split("\\n")[1:] if line]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(int(os.environ.get("PING_STATUS", "200")), {{}})
    def do_POST(self):
        body, kind = self.rfile.read(int(self.headers["Content-Length"])), self.headers["Content-Type"]
        if kind not in ("application/json", "text/csv"):
            return self.answer(415, {{"error": "content type"}})
        try:
            found = [WEIGHT * float(row[0]) for row in rows(kind, body)]
        except (ValueError, KeyError):
            return self.answer(400, {{"error": "malformed"}})
        self.answer(200, {{"predictions": found}})
    def log_message(self, *arguments):
        pass

print("loading a model of weight", WEIGHT, flush=True)
time.sleep(float(os.environ.get("LOADING_SECONDS", "0")))
if os.environ.get("BROKEN"):
    sys.exit("ModuleNotFoundError: No module named 'sklearn'")
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@dataclass
class StandIn:
    """One server, and what tests ask of it."""

    url: str

    def client(self, service: str, region_name: str | None = None) -> Any:
        session = boto3.session.Session("AKIAIOSFODNN7EXAMPLE", "testing-secret", region_name=REGION)
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return session.client(service, region_name, endpoint_url=self.url, config=config)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path) as answer:
            return json.load(answer)

    def position(self) -> int:
        return int(self.get("/_localaws/journal?since=0")["next"])

    def changes(self, since: int) -> list[str]:
        """What was created, updated, put or deleted since then."""
        entries = self.get(f"/_localaws/journal?since={since}")["entries"]
        return [entry["action"] for entry in entries if entry["mutating"]]

    def faults(self, *rules: dict[str, Any]) -> None:
        body = json.dumps({"rules": rules}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/_localaws/faults", method="PUT", data=body)).close()


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("localaws")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "slipway_localaws", "--port", str(port), "--state", str(folder)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([*command, "--max-startup-seconds", "8"], stdout=log, stderr=log)
    server = StandIn(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "server.log").read_text()
            try:
                server.get("/_localaws/health")
                break
            except OSError:
                assert time.monotonic() < deadline, "the stand-in did not start"
                time.sleep(0.1)
        server.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in behind the connection ``aws_default``."""
    extra = {"region_name": REGION, "endpoint_url": stand_in.url, "config_kwargs": {"s3": {"addressing_style": "path"}}}
    connection = {"conn_type": "aws", "login": "AKIAIOSFODNN7EXAMPLE", "password": "testing-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    yield stand_in
    stand_in.faults()


@dataclass
class MlflowServer:
    """An MLflow server whose artifacts lie in the stand-in's S3."""

    url: str
    client: Any


@pytest.fixture(scope="session")
def _mlflow_url(stand_in: StandIn, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow-server")
    bucket = {"LocationConstraint": REGION}
    stand_in.client("s3").create_bucket(Bucket="mlflow-artifacts", CreateBucketConfiguration=bucket)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{shutil.copy(empty_mlflow, folder / 'mlflow.db')}"]
    command += ["--default-artifact-root", "s3://mlflow-artifacts/root", "--no-serve-artifacts"]
    environment = {**os.environ, **_s3_environment(stand_in), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None, (folder / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{url}/health").close()
                break
            except OSError:
                assert time.monotonic() < deadline, "MLflow did not start"
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def mlflow_server(_mlflow_url: str, aws: StandIn, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """The server behind the connection ``mlflow_default``; this process's ``mlflow`` works with it."""
    import mlflow

    for name, value in _s3_environment(aws).items():
        monkeypatch.setenv(name, value)
    place = urlsplit(_mlflow_url)
    connection = {"conn_type": "http", "schema": "http", "host": place.hostname, "port": place.port}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(connection))
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(_mlflow_url)
    mlflow.set_registry_uri(_mlflow_url)
    yield MlflowServer(_mlflow_url, mlflow.MlflowClient(_mlflow_url, _mlflow_url))
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def _s3_environment(stand_in: StandIn) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": REGION,
        "MLFLOW_S3_ENDPOINT_URL": stand_in.url,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


@pytest.fixture
def platform() -> Platform:
    return Platform.model_validate({"execution_role": "slipway-endpoint", "base_images": {"3.11": "scratch"}})


@dataclass
class Service:
    """A service of the test's own, and what is known of it in AWS."""

    spec: ServiceSpec
    aws: StandIn

    def release(self, number: int = 1, *, weight: float | str = 2.0, answers: float = 2.0) -> Release:
        """Push and record a release whose model multiplies by ``weight`` (or its text), and should by ``answers``."""
        layer = tiny_image.layer({"opt/app/tiny_model.py": MODEL.format(weight=weight), "opt/app/number": str(number)})
        image = tiny_image.build(layer, Entrypoint=["python3", "-m", "tiny_model"])
        inputs = ReleaseInputs(
            artifact_manifest_digest=f"{self.spec.name}-{number}",
            lock_digest="lock",
            base_image_digest="scratch",
            serving_app_digest="app",
            serving_spec={"weight": weight},
        )
        release = Release(
            service=self.spec.name,
            id=release_id(inputs),
            model=self.spec.model,
            version=number,
            image_uri=tiny_image.push(self.aws.client("ecr"), image, f"slipway/{self.spec.name}", f"v{number}"),
            inputs=inputs,
            created_from={"run_id": f"run-{number}", "metrics": {"areaUnderROC": 0.7 + number / 100}},
        )
        s3 = self.aws.client("s3")
        key = f"releases/{self.spec.name}/{release.id}/golden.json"
        s3.put_object(Bucket=BUCKET, Key=key, Body=golden(answers).to_json())
        return ReleaseStore(s3, BUCKET).write_once(release)[0]

    def describe(self, stage: str) -> dict[str, Any] | None:
        sagemaker = self.aws.client("sagemaker")
        try:
            return dict(sagemaker.describe_endpoint(EndpointName=f"{self.spec.name}-{stage}"))
        except sagemaker.exceptions.ClientError:
            return None

    def ask(self, stage: str, x: float = 3.0) -> float:
        runtime = self.aws.client("sagemaker-runtime")
        body = json.dumps({"dataframe_split": {"columns": ["x"], "data": [[x]]}})
        answer = runtime.invoke_endpoint(
            EndpointName=f"{self.spec.name}-{stage}", ContentType="application/json", Body=body
        )
        return float(json.load(answer["Body"])["predictions"][0])

    @property
    def states(self) -> StateStore:
        return StateStore(self.aws.client("s3"), BUCKET)

    def state(self, stage: str = "prod") -> EndpointState | None:
        return self.states.read(f"{self.spec.name}-{stage}")[0]

    def ledger(self) -> list[tuple[str, str]]:
        records = Ledger(self.aws.client("s3"), BUCKET).read(self.spec.name)
        return [(record.action, record.subject) for record in reversed(records)]

    def with_environment(self, **environment: str) -> ServiceSpec:
        return self.spec.model_copy(
            update={"serving": self.spec.serving.model_copy(update={"environment": environment})}
        )


def golden(weight: float) -> GoldenRows:
    values = [1.0, 2.5, -4.0]
    answers = [weight * value for value in values]
    return GoldenRows(
        columns=["x"],
        rows=[[value] for value in values],
        answers=answers,
        json={"dataframe_split": {"columns": ["x"], "data": [[value] for value in values]}},
        csv="x\n" + "".join(f"{value}\n" for value in values),
        csv_answers=answers,
    )


@pytest.fixture
def service(aws: StandIn, request: pytest.FixtureRequest) -> Iterator[Service]:
    name = f"t{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    stage = {"instance_type": "ml.m5.large", "instances": {"min": 1, "max": 1}, "startup_timeout_seconds": 60}
    spec = ServiceSpec.model_validate(
        {
            "name": name,
            "model": f"{name}-model",
            "owner": "team@example.com",
            "stages": {"dev": stage, "prod": stage},
            "promote": {"strategy": "all_at_once"},
            "monitor": {"capture_pct": 0},
        }
    )
    yield Service(spec, aws)
    aws.faults()
    for stage_name in ("dev", "prod"):
        delete_endpoint(aws.client("sagemaker"), f"{name}-{stage_name}")


def delete_endpoint(sagemaker: Any, name: str) -> None:
    for _ in range(100):
        try:
            sagemaker.delete_endpoint(EndpointName=name)
        except sagemaker.exceptions.ClientError as error:
            if "could not find" in str(error).lower():
                return
        time.sleep(0.2)


@pytest.fixture
def context() -> Callable[..., Any]:
    """Build the part of Airflow's task context that the operators read."""

    def build(
        task_id: str = "task",
        *,
        run_id: str = "manual__1",
        states: dict[str, str] | None = None,
        ended: dict[str, str] | None = None,
    ) -> Any:
        instance = SimpleNamespace(
            dag_id="dag",
            run_id=run_id,
            task_id=task_id,
            id=f"{run_id}/{task_id}",
            xcom_push=lambda **_: None,
            xcom_pull=lambda **_: ended,
            get_task_states=lambda **_: {run_id: states or {}},
        )
        run = SimpleNamespace(
            conf={},
            triggering_user_name="carol",
            run_type=DagRunType.MANUAL,
            run_id=run_id,
            start_date=datetime.now(UTC),
        )
        return {"ti": instance, "task_instance": instance, "run_id": run_id, "dag_run": run, "params": {}}

    return build


@pytest.fixture
def registry(mlflow_uri: str, service: Service) -> MlflowClient:
    client = MlflowClient(mlflow_uri, mlflow_uri)
    client.create_registered_model(service.spec.model)
    for number in range(1, 6):
        client.create_model_version(service.spec.model, f"s3://models/m-{number}")
    return client


@pytest.fixture
def promotion(
    service: Service, platform: Platform, context: Callable[..., Any], registry: MlflowClient
) -> Callable[..., Promotion]:
    from tests.integration.slipway_airflow.promotions import Promotion

    def promotion(run_id: str = "promote_1", spec: ServiceSpec | None = None) -> Promotion:
        return Promotion(service, platform, context, run_id, spec)

    return promotion
