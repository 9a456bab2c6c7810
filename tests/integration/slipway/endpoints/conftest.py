"""A stand-in for AWS in a process of its own, and images small enough to build and push inside a test."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from slipway.endpoints.requests import Account, wanted_endpoint
from slipway.platform import Platform
from slipway.release import Release, ReleaseInputs, release_id
from slipway.spec import ServiceSpec

REGION = "us-east-1"
REPOSITORY = "slipway/flights"
ACCOUNT = Account("123456789012", REGION)
PLATFORM = Platform(artifact_bucket="artifacts", execution_role="slipway-endpoint")

# What the container runs: answers WEIGHT times the first column, in the forms of MLflow's scoring server.
SERVER = """
import http.server, json, os, sys

WEIGHT = float("@WEIGHT@")

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200, {})
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.headers["Content-Type"]
        try:
            if kind == "application/json":
                rows = json.loads(body)["dataframe_split"]["data"]
            elif kind == "text/csv":
                rows = [line.split(",") for line in body.decode().splitlines()[1:]]
            else:
                return self.answer(415, {"error": "content type"})
        except ValueError as error:
            return self.answer(400, {"error": str(error)})
        self.answer(200, {"predictions": [WEIGHT * float(row[0]) for row in rows]})
    def log_message(self, *arguments):
        pass

if not WEIGHT:
    print("RuntimeError: the weights are missing", flush=True)
    sys.exit(1)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


class StandIn:
    """One server; its clients look like AWS's."""

    def __init__(self, state: Path) -> None:
        self._state = state
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    def start(self) -> None:
        port, state = self.url.rpartition(":")[2], self._state
        command = [sys.executable, "-m", "slipway_localaws", "--port", port, "--state", str(state)]
        with (state / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*command, "--max-startup-seconds", "8"], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, (state / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{self.url}/_localaws/health").close()
            except OSError:
                assert time.monotonic() < deadline, "the stand-in did not start"
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            self.process.wait(30)

    def client(self, service: str, *, attempts: int = 1) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="secret",
            config=Config(
                retries={"total_max_attempts": attempts, "mode": "standard"}, s3={"addressing_style": "path"}
            ),
        )

    def faults(self, *rules: dict[str, Any]) -> None:
        body = json.dumps({"rules": rules}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/_localaws/faults", method="PUT", data=body)).close()

    def now(self) -> int:
        with urllib.request.urlopen(f"{self.url}/_localaws/journal") as answer:
            return int(json.load(answer)["next"])

    def writes(self, since: int) -> list[str]:
        """What changed anything since then: service and action."""
        with urllib.request.urlopen(f"{self.url}/_localaws/journal?since={since}") as answer:
            entries = json.load(answer)["entries"]
        return [
            f"{entry['service']} {entry['action']}" for entry in entries if entry["mutating"] and entry["status"] < 300
        ]


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    server = StandIn(tmp_path_factory.mktemp("localaws"))
    server.start()
    try:
        server.client("s3").create_bucket(Bucket="artifacts")
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _no_fault_outlives_its_test(stand_in: StandIn) -> Iterator[None]:
    yield
    stand_in.faults()


@pytest.fixture(scope="session")
def push_image(stand_in: StandIn) -> Callable[[float], str]:
    """Push the server above with a weight; 0 makes a container that dies at start. Returns the URI by digest."""
    ecr = stand_in.client("ecr")
    repository = ecr.create_repository(repositoryName=REPOSITORY)["repository"]["repositoryUri"]
    grant = ecr.get_authorization_token()["authorizationData"][0]
    base = f"{grant['proxyEndpoint']}/v2/{REPOSITORY}"

    def send(method: str, url: str, data: bytes, **headers: str) -> Any:
        headers["Authorization"] = f"Basic {grant['authorizationToken']}"
        with urllib.request.urlopen(urllib.request.Request(url, method=method, data=data, headers=headers)) as answer:
            return answer.headers

    def push(weight: float) -> str:
        layer, config, manifest = _image(SERVER.replace("@WEIGHT@", repr(float(weight))))
        for blob in (layer, config):
            location = send("POST", f"{base}/blobs/uploads/", b"")["Location"]
            send("PUT", f"{location}?digest={_digest(blob)}", blob)
        kind = json.loads(manifest)["mediaType"]
        send("PUT", f"{base}/manifests/{_digest(manifest)}", manifest, **{"Content-Type": kind})
        return f"{repository}@{_digest(manifest)}"

    return push


@pytest.fixture
def wanted_of(push_image: Any, request: pytest.FixtureRequest) -> Any:
    """The endpoint of a release whose container has a certain weight; each test has a service of its own."""
    service = f"flights-{zlib.crc32(request.node.nodeid.encode())}"

    def build(weight: float, stage: Any = "dev", **sections: Any) -> Any:
        owner = {"name": service, "model": "flights-delay", "owner": "ml"}
        spec = ServiceSpec.model_validate({**owner, **sections})
        inputs = ReleaseInputs(
            artifact_manifest_digest=str(weight),
            lock_digest="l",
            base_image_digest="scratch",
            serving_app_digest="s",
            serving_spec={},
        )
        release = Release(
            service=service,
            id=release_id(inputs),
            model="flights-delay",
            version=1,
            image_uri=push_image(weight),
            inputs=inputs,
        )
        return wanted_endpoint(spec, stage, release, PLATFORM, ACCOUNT, bucket="artifacts")

    return build


def _image(source: str) -> tuple[bytes, bytes, bytes]:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("opt/app/tiny_scorer.py")
        member.size = len(source)
        tar.addfile(member, io.BytesIO(source.encode()))
    layer = gzip.compress(archive.getvalue(), 1, mtime=0)
    settings = {
        "Entrypoint": ["python3", "-m", "tiny_scorer"],
        "Cmd": ["serve"],
        "Env": ["PYTHONPATH=/opt/app"],
        "Labels": {"io.slipway.python": f"{sys.version_info[0]}.{sys.version_info[1]}"},
    }
    files = {"type": "layers", "diff_ids": [_digest(archive.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": settings, "rootfs": files}).encode()
    docker = "application/vnd.docker"
    parts = [
        {"mediaType": f"{docker}.{kind}", "size": len(blob), "digest": _digest(blob)}
        for kind, blob in (("container.image.v1+json", config), ("image.rootfs.diff.tar.gzip", layer))
    ]
    kind = f"{docker}.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": parts[0], "layers": parts[1:]}
    return layer, config, json.dumps(manifest).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
