"""MLflow's credentials from Secrets Manager."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from slipway_trainer.command import run
from slipway_trainer.mlflow_login import PASSWORD, TOKEN, USERNAME, log_in
from slipway_trainer.problem import BadDataError, TrainingError, UnavailableError

REGION = "eu-central-1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in (USERNAME, PASSWORD, TOKEN):
        monkeypatch.setenv(name, "from-before")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def secret():
    with mock_aws():
        client = boto3.client("secretsmanager", region_name=REGION)

        def make(**value) -> str:
            return client.create_secret(Name="mlflow/trainer", **value)["Name"]

        yield make


def _found() -> dict[str, str]:
    return {name: os.environ[name] for name in (USERNAME, PASSWORD, TOKEN) if name in os.environ}


def test_a_user_and_a_password_replace_what_was_there(secret, capsys):
    log_in(secret(SecretString=json.dumps({"username": "trainer", "password": "pw-1"})), REGION)
    assert _found() == {USERNAME: "trainer", PASSWORD: "pw-1"}
    assert "".join(capsys.readouterr()) == ""


def test_a_token_replaces_what_was_there(secret):
    log_in(secret(SecretString=json.dumps({"token": "t-1"})), REGION)
    assert _found() == {TOKEN: "t-1"}


@pytest.mark.parametrize(
    "value",
    [
        {"SecretString": "hunter2"},
        {"SecretString": '["hunter2"]'},
        {"SecretString": '{"user": "hunter2"}'},
        {"SecretString": '{"username": "hunter2"}'},
        {"SecretString": '{"username": "hunter2", "password": ""}'},
        {"SecretString": '{"token": 42, "why": "hunter2"}'},
        {"SecretBinary": b"hunter2"},
    ],
)
def test_a_secret_that_holds_something_else_is_refused_and_not_shown(secret, value):
    with pytest.raises(TrainingError, match="mlflow/trainer holds no credentials of MLflow: expected") as caught:
        log_in(secret(**value), REGION)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None
    assert _found() == dict.fromkeys((USERNAME, PASSWORD, TOKEN), "from-before")


def test_a_secret_that_is_not_there_is_named(secret):
    with pytest.raises(TrainingError, match=f"there is no secret mlflow/other in {REGION}"):
        log_in("mlflow/other", REGION)


def _failing(monkeypatch, error):
    def refuse(self, operation, kwargs):
        raise error

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)


def _client_error(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetSecretValue")


@pytest.mark.parametrize(
    ("error", "expected", "told"),
    [
        (_client_error("AccessDeniedException", 400), TrainingError, "needs secretsmanager:GetSecretValue"),
        (_client_error("ThrottlingException", 400), UnavailableError, "does not give mlflow/trainer"),
        (_client_error("InternalServiceError", 500), UnavailableError, "does not give mlflow/trainer"),
        (EndpointConnectionError(endpoint_url="http://x"), UnavailableError, "does not give mlflow/trainer"),
    ],
)
def test_a_refusal_is_told_apart_from_an_outage(monkeypatch, error, expected, told):
    _failing(monkeypatch, error)
    with pytest.raises(expected, match=told):
        log_in("mlflow/trainer", REGION)


def test_every_command_logs_in_before_anything_else(job, secret):
    secret(SecretString=json.dumps({"token": "t-1"}))
    named = replace(job, mlflow_secret="mlflow/trainer", region=REGION, objects=())
    with pytest.raises((TrainingError, BadDataError)):
        run("train", named)
    assert _found() == {TOKEN: "t-1"}
