from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from mlflow import MlflowClient
from moto import mock_aws
from typer.testing import Result

from slipway.cli.doctor_account import _is_trusted

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]
REGION = "eu-west-1"
TRUST = {
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}]
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "services").mkdir(parents=True)
    (folder / "platform.yaml").write_text("execution_role: endpoints\n")
    (folder / "services" / "flights.yaml").write_text("name: flights\nmodel: delays\nowner: o\n")
    monkeypatch.setenv("SLIPWAY_PROJECT", str(folder))
    return folder


@pytest.fixture
def airflow(airflow: FakeAirflow) -> FakeAirflow:
    airflow.add_dag("slipway.housekeeping", tags=("slipway", "housekeeping"))
    return airflow


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        yield


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, mlflow_uri: str) -> MlflowClient:
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    return MlflowClient(mlflow_uri, mlflow_uri)


def make_account(trust: Any = TRUST) -> None:
    client: Any = boto3.client("s3")
    location = {"LocationConstraint": REGION}
    client.create_bucket(Bucket=f"slipway-123456789012-{REGION}", CreateBucketConfiguration=location)
    boto3.client("iam").create_role(RoleName="endpoints", AssumeRolePolicyDocument=json.dumps(trust))


def make_model(registry: MlflowClient) -> None:
    registry.create_registered_model("delays")
    registry.create_model_version("delays", "s3://models/1")
    registry.set_registered_model_alias("delays", "candidate", "1")


def findings(slipway: Slipway, exit_code: int) -> dict[str, dict[str, str]]:
    done = slipway("doctor", "--json")
    assert done.exit_code == exit_code, done.output
    return {each["about"]: each for each in json.loads(done.stdout)}


@pytest.mark.usefixtures("aws", "project", "airflow")
def test_all_is_well(slipway: Slipway, registry: MlflowClient) -> None:
    make_account()
    make_model(registry)
    found = findings(slipway, 0)
    assert {each["outcome"] for each in found.values()} == {"ok"}, found
    assert found["DAGs of flights"]["found"] == "deploy, promote"
    assert found["DAG slipway.housekeeping"]["found"] == "runs by its schedule"
    assert found["model delays"]["found"] == "candidate is version 1"
    assert {"artifact bucket", "role endpoints", "image registry", "SageMaker"} <= {*found}


@pytest.mark.usefixtures("aws", "project")
def test_each_thing_that_is_missing_is_named_with_its_cure(
    airflow: FakeAirflow, slipway: Slipway, registry: MlflowClient
) -> None:
    airflow.dags.clear()
    airflow.health["triggerer"]["status"] = "unhealthy"
    airflow.health["dag_processor"] = None
    airflow.import_errors.append({"filename": "dags/x.py", "stack_trace": "Traceback …\nSyntaxError: invalid syntax\n"})
    found = findings(slipway, 1)
    wrong = {about: each["found"] + each["cure"] for about, each in found.items() if each["outcome"] == "wrong"}
    assert f"aws s3 mb s3://slipway-123456789012-{REGION}" in wrong["artifact bucket"]
    assert "no such role" in wrong["role endpoints"]
    assert "no model 'delays'" in found["model delays"]["found"]
    assert found["model delays"]["outcome"] == "look", "it may be registered tomorrow"
    assert "airflow triggerer" in wrong["Airflow's triggerer"]
    assert "does not run" in wrong["Airflow's dag_processor"]
    assert wrong["DAG file dags/x.py"] == "SyntaxError: invalid syntax"
    assert "SLIPWAY_PROJECT" in wrong["DAGs of flights"]
    assert "dags/housekeeping.py" in wrong["DAG slipway.housekeeping"]


@pytest.mark.usefixtures("aws")
def test_what_may_be_meant_so_is_no_failure(
    airflow: FakeAirflow, slipway: Slipway, registry: MlflowClient, project: Path
) -> None:
    make_account()
    make_model(registry)
    registry.delete_registered_model_alias("delays", "candidate")
    airflow.dags["flights.promote"]["is_paused"] = True
    airflow.dags["slipway.housekeeping"]["is_paused"] = True
    found = findings(slipway, 0)
    looked = {about: each["found"] for about, each in found.items() if each["outcome"] == "look"}
    assert looked == {
        "DAGs of flights": "paused: flights.promote",
        "DAG slipway.housekeeping": "paused",
        "model delays": "no alias candidate",
    }


@pytest.mark.usefixtures("aws", "registry")
def test_what_cannot_be_asked_keeps_nothing_else_from_being_looked_at(
    airflow: FakeAirflow, slipway: Slipway, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_account({"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}})
    (project / "services" / "broken.yaml").write_text("name: broken\n")
    monkeypatch.setenv("SLIPWAY_AIRFLOW_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    found = findings(slipway, 1)
    assert "does not answer" in found["Airflow"]["found"]
    assert found["MLflow"]["outcome"] == "unknown"
    assert "may not assume" in found["role endpoints"]["found"]
    assert "model" in found["service broken"]["found"]
    assert found["artifact bucket"]["outcome"] == "ok"


@pytest.mark.usefixtures("aws", "airflow", "registry")
def test_the_role_of_training_jobs_is_looked_at_as_well(slipway: Slipway, project: Path) -> None:
    make_account()
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/slipway/trainer:1"
    compute = f"{{sagemaker: {{image: {image}, role: trainers}}}}"
    section = f"retrain: {{data: {{s3: s3://lake/flights/}}, compute: {compute}}}\n"
    with (project / "services" / "flights.yaml").open("a") as file:
        file.write(section)
    found = findings(slipway, 1)
    assert found["role trainers"]["found"] == "there is no such role"
    assert found["role endpoints"]["outcome"] == "ok"


@pytest.mark.usefixtures("airflow", "registry")
def test_without_credentials_the_account_is_unknown(
    slipway: Slipway, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    done = slipway("doctor")
    assert "No AWS credentials" in done.stdout
    assert "no model 'delays'" in " ".join(done.stdout.split())
    assert done.exit_code == 0


@pytest.mark.usefixtures("aws", "airflow", "registry")
def test_a_platform_that_is_not_valid_leaves_the_account_alone(slipway: Slipway, project: Path) -> None:
    (project / "platform.yaml").write_text("artifact_bucket: b-b\n")
    found = findings(slipway, 1)
    assert "execution_role: missing" in found["platform.yaml"]["found"]
    assert "AWS" not in found


@pytest.mark.parametrize(
    ("policy", "trusted"),
    [
        (TRUST, True),
        (json.dumps(TRUST).replace("{", "%7B"), True),
        ({"Statement": [{"Effect": "Allow", "Principal": "*"}]}, True),
        ({"Statement": [{"Effect": "Allow", "Principal": {"Service": ["a", "sagemaker.amazonaws.com"]}}]}, True),
        ({"Statement": [{"Effect": "Deny", "Principal": {"Service": "sagemaker.amazonaws.com"}}]}, False),
        ({"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}}]}, False),
        ({}, False),
    ],
)
def test_a_trust_policy_is_read_as_iam_gives_it(policy: Any, trusted: bool) -> None:
    assert _is_trusted(policy) is trusted


@pytest.mark.usefixtures("aws", "airflow")
@pytest.mark.parametrize(
    ("client", "outcome", "found"),
    [
        ("echo 28.0", "ok", "28.0, on this machine"),
        ("echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1", "look", "no Docker engine answers"),
        ("echo 'permission denied' >&2; exit 1", "look", "permission denied"),
    ],
)
def test_a_docker_engine_is_looked_for_when_images_are_built_by_one(
    slipway: Slipway,
    registry: MlflowClient,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    client: str,
    outcome: str,
    found: str,
) -> None:
    make_account()
    make_model(registry)
    assert "Docker engine" not in findings(slipway, 0)
    (project / "platform.yaml").write_text("execution_role: endpoints\nimage_builder: docker\n")
    program = project / "docker"
    program.write_text(f"#!/bin/sh\n{client}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(project), prepend=":")
    engine = findings(slipway, 0)["Docker engine"]
    assert engine["outcome"] == outcome
    assert found in engine["found"]
