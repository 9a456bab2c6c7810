"""A stand-in of a test's own: a real process in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from conformity import watch

REGION = "us-east-1"
#: No retries, so that each answer is seen; no checks before sending, so that the server's own are.
_CONFIG: dict[str, Any] = {
    "retries": {"total_max_attempts": 1}, "parameter_validation": False, "s3": {"addressing_style": "path"},
}  # fmt: skip
ROLE = "arn:aws:iam::123456789012:role/slipway"


class StandIn:
    """Starts, stops, kills and asks one server."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.state = state
        self.arguments = arguments
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> StandIn:
        self.state.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "slipway_localaws", "--port", str(self.port), "--state", str(self.state)]
        with (self.state / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *self.arguments], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.state / "server.log").read_text()
            try:
                if self.get("/_localaws/health")["status"] == "ok":
                    return self
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the stand-in did not start")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            self.process.wait(30)

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path) as answer:
            return dict(json.load(answer))

    def faults(self, *rules: dict[str, Any]) -> list[dict[str, Any]]:
        """Replace the fault rules; returns them as the server describes them."""
        body = json.dumps({"rules": rules}).encode()
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/_localaws/faults", method="PUT", data=body)
        ) as a:
            return list(json.load(a)["rules"])

    def journal(self, since: int = 0, **wanted: str) -> list[dict[str, Any]]:
        query = "&".join(f"{key}={value}" for key, value in {"since": since, **wanted}.items())
        return list(self.get(f"/_localaws/journal?{query}")["entries"])

    def client(self, service: str, *, key: str = "AKIAIOSFODNN7EXAMPLE", checked: bool = True, **config: Any) -> Any:
        made = boto3.client(
            service, endpoint_url=self.url, region_name=REGION, aws_access_key_id=key, aws_secret_access_key="secret",
            config=Config(**{**_CONFIG, **config}),
        )  # fmt: skip
        if checked:
            watch(made)
        return made


def wait_for(condition: Any, seconds: float = 40.0, pause: float = 0.05) -> Any:
    """What ``condition`` returns once that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s")


def variant(name: str, model: str, weight: float = 1.0, count: int = 1, **more: Any) -> dict[str, Any]:
    """A production variant."""
    return {
        "VariantName": name, "ModelName": model, "InitialInstanceCount": count, "InstanceType": "ml.m7i.large",
        "InitialVariantWeight": weight, **more,
    }  # fmt: skip


def status_of(sagemaker: Any, endpoint: str) -> str:
    return str(sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"])


def wait_status(sagemaker: Any, endpoint: str, *wanted: str, seconds: float = 60.0) -> dict[str, Any]:
    """The endpoint's description once its status is one of ``wanted``."""
    return dict(
        wait_for(
            lambda: (d := sagemaker.describe_endpoint(EndpointName=endpoint))["EndpointStatus"] in wanted and d, seconds
        )
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refused(call: Any, *words: str, **parameters: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    for word in words:
        assert word in caught.value.response["Error"]["Message"]


def log_lines(aws: Any, endpoint: str) -> list[str]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html"""
    logs, group = aws("logs"), f"/aws/sagemaker/Endpoints/{endpoint}"
    lines = []
    for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
        variant, _, instance = stream["logStreamName"].partition("/")
        assert variant
        assert instance.startswith("i-")
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        lines += [each["message"] for each in events]
    return lines


def make_config(
    sagemaker: Any, config_name: str, variants: dict[str, tuple[float, dict[str, str]]], image: str, **config: Any
) -> str:
    for each, (_, environment) in variants.items():
        sagemaker.create_model(
            ModelName=f"{config_name}-{each}",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": image, "Environment": environment},
        )
    sagemaker.create_endpoint_config(
        EndpointConfigName=config_name,
        ProductionVariants=[variant(each, f"{config_name}-{each}", weight) for each, (weight, _) in variants.items()],
        **config,
    )
    return config_name
