from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import Result

from slipway.state import EndpointState, Flag, Flags, Serving, StateStore

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]
REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def _no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("SLIPWAY_PROJECT", raising=False)


@pytest.fixture
def aws(_no_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


def launch(name: str) -> None:
    sagemaker: Any = boto3.Session().client("sagemaker")
    sagemaker.create_model(ModelName=name, ExecutionRoleArn="arn:aws:iam::123456789012:role/r", PrimaryContainer={})
    variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-0123456789", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-0123456789")


def record_champion(name: str) -> None:
    s3: Any = boto3.Session().client("s3")
    bucket = f"slipway-123456789012-{REGION}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    now = datetime(2026, 11, 21, tzinfo=UTC)
    serving = Serving(release_id="3f2a9c0d1e5b", model_version=4, config_name="c", since=now, run_id="r")
    flags = Flags(frozen=Flag(by="alice", at=now, reason="audit"))
    state = EndpointState(endpoint=name, champion=serving, flags=flags)
    StateStore(s3, bucket).update(name, lambda _: state)


def test_runs_tasks_and_what_waits(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_run("flights.deploy", "first", "running", run_after="2026-11-20T00:00:00Z")
    airflow.add_task("first", "resolve_model", "success", duration=3.25)
    airflow.ask("first", subject="Put release abc of flights into production?")
    airflow.add_run("flights.deploy", "second", "queued", run_after="2026-11-21T00:00:00Z")
    done = slipway("status", "flights")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    deploy = next(line for line in lines if line.startswith("flights.deploy"))
    assert "running" in deploy
    assert "1 more queued" in deploy
    assert "first" in deploy
    assert any(line.split() == ["resolve_model", "success", "3.2", "s"] for line in lines)
    assert any("approve" in line and "awaiting input" in line for line in lines)
    assert "Put release abc of flights into production?" in done.stdout
    assert "since 2 h ago; may answer: admin" in done.stdout
    assert any(line.startswith("flights.promote") and "never ran" in line for line in lines)


def test_a_failed_run_says_why(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_run("flights.promote", "one", "failed")
    airflow.add_task("one", "launch", "failed", try_number=1)
    airflow.add_dag("flights.promote", paused=True)
    done = slipway("status", "flights")
    assert "ValueError: no endpoint" in done.stdout
    assert "paused" in done.stdout


def test_an_unknown_service(airflow: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("status", "fligths")
    assert done.exit_code == 2
    assert "services: flights" in done.stderr


def test_without_credentials_the_rest_is_still_shown(airflow: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("status", "flights")
    assert done.exit_code == 0
    assert "not looked at: no AWS credentials or region here" in done.stdout


@pytest.mark.usefixtures("aws")
def test_endpoints_and_champion_come_from_aws(airflow: FakeAirflow, slipway: Slipway) -> None:
    launch("flights-prod")
    record_champion("flights-prod")
    done = slipway("status", "flights")
    assert f"account 123456789012, {REGION}" in done.stdout
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["flights-prod", "InService", "version", "4,", "release", "3f2a9c0d1e5b"] in lines
    assert ["flights-dev", "none"] in lines
    assert ["frozen", "by", "alice:", "audit"] in lines


@pytest.mark.usefixtures("aws")
def test_a_bucket_that_is_not_there_is_told_and_not_fatal(airflow: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("status", "flights")
    assert done.exit_code == 0
    assert "not looked at: Cannot" in done.stdout


@pytest.mark.usefixtures("aws")
def test_status_for_scripts(airflow: FakeAirflow, slipway: Slipway) -> None:
    launch("flights-prod")
    record_champion("flights-prod")
    airflow.add_run("flights.deploy", "one", "running")
    airflow.ask("one")
    told = json.loads(slipway("status", "flights", "--json").stdout)
    assert told["service"] == "flights"
    assert told["dags"][0]["run"]["run_id"] == "one"
    assert told["approvals"][0]["options"] == ["Approve", "Reject"]
    prod = next(each for each in told["endpoints"]["endpoints"] if each["name"] == "flights-prod")
    assert (prod["status"], prod["champion"]) == ("InService", "version 4, release 3f2a9c0d1e5b")


def test_watch_goes_on_until_interrupted(
    airflow: FakeAirflow, slipway: Slipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        airflow.add_dag("flights.retrain")
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("slipway.cli.status.time.sleep", pause)
    done = slipway("status", "flights", "--watch")
    assert done.exit_code == 0
    assert "flights.retrain" in done.stdout
