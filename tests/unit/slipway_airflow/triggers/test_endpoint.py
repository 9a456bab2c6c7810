from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.providers.amazon.aws.utils.waiter_with_logging import wait
from airflow.sdk.serde import deserialize, serialize
from botocore.stub import Stubber

import slipway_airflow
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook
from slipway_airflow.triggers.endpoint import EndpointSettledTrigger

WAITERS = json.loads((Path(slipway_airflow.__file__).parent / "waiters" / "endpoint.json").read_text())
SETTLED = {"InService", "Failed", "OutOfService", "UpdateRollbackFailed"}


def every_status() -> list[str]:
    client = boto3.session.Session("a", "b", region_name="eu-central-1").client("sagemaker")
    return list(client.meta.service_model.shape_for("EndpointStatus").enum)


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    client = boto3.session.Session("a", "b", region_name="eu-central-1").client("sagemaker")
    monkeypatch.setattr(SlipwayAwsHook, "_client", client)
    return Stubber(client)


def description(status: str) -> dict[str, Any]:
    return {
        "EndpointName": "flights-dev",
        "EndpointArn": "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/flights-dev",
        "EndpointStatus": status,
        "CreationTime": 0,
        "LastModifiedTime": 0,
    }


def settle(attempts: int) -> None:
    waiter = SlipwayAwsHook().get_waiter("endpoint_settled")
    wait(waiter, 0, attempts, {"EndpointName": "flights-dev"}, "cannot be read", "is", ["EndpointStatus"])


def test_the_waiter_names_every_status_of_the_api() -> None:
    acceptors = WAITERS["waiters"]["endpoint_settled"]["acceptors"]
    named = {acceptor["expected"]: acceptor["state"] for acceptor in acceptors if acceptor["matcher"] == "path"}
    assert set(named) == set(every_status())
    assert {status for status, state in named.items() if state == "success"} == SETTLED


@pytest.mark.parametrize("status", every_status())
def test_each_status_ends_the_waiting_or_keeps_it_going(sagemaker: Stubber, status: str) -> None:
    sagemaker.add_response("describe_endpoint", description(status), {"EndpointName": "flights-dev"})
    if status not in SETTLED:
        sagemaker.add_response("describe_endpoint", description("InService"), {"EndpointName": "flights-dev"})
    with sagemaker:
        settle(attempts=2)
        sagemaker.assert_no_pending_responses()


def test_an_endpoint_that_is_gone_has_settled(sagemaker: Stubber) -> None:
    sagemaker.add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint")
    with sagemaker:
        settle(attempts=1)


def test_what_the_operator_was_given_reaches_the_triggerer() -> None:
    trigger = EndpointSettledTrigger(
        endpoint_name="flights-dev",
        waiter_delay=5,
        waiter_max_attempts=20,
        aws_conn_id="aws_prod",
        region_name="eu-west-1",
        verify=False,
        botocore_config={"read_timeout": 5},
    )
    path, fields = trigger.serialize()
    assert path == "slipway_airflow.triggers.endpoint.EndpointSettledTrigger"
    assert fields == {
        "endpoint_name": "flights-dev",
        "waiter_delay": 5,
        "waiter_max_attempts": 20,
        "aws_conn_id": "aws_prod",
        "region_name": "eu-west-1",
        "verify": False,
        "botocore_config": {"read_timeout": 5},
    }
    stored = json.loads(json.dumps(serialize(fields)))
    assert EndpointSettledTrigger(**deserialize(stored)).serialize() == (path, fields)


@pytest.mark.parametrize("exists", [True, False])
def test_the_trigger_fires_when_the_endpoint_has_settled(aws: Any, exists: bool) -> None:
    if exists:
        make_endpoint(aws("sagemaker"), "flights-dev")
    trigger = EndpointSettledTrigger(endpoint_name="flights-dev", waiter_delay=0, waiter_max_attempts=3)
    assert first_event(trigger) == {"status": "success", "endpoint_name": "flights-dev"}


def test_the_trigger_tells_when_the_endpoint_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"region_name": "eu-central-1", "endpoint_url": "http://127.0.0.1:1"}
    connection = {"conn_type": "aws", "login": "a", "password": "testing-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    config = {"retries": {"max_attempts": 0}, "connect_timeout": 1}
    trigger = EndpointSettledTrigger(
        endpoint_name="flights-dev", waiter_delay=0, waiter_max_attempts=1, botocore_config=config
    )
    event = first_event(trigger)
    assert event["status"] == "error"
    assert "127.0.0.1:1" in event["message"]
    assert event["timed_out"] is False


def first_event(trigger: EndpointSettledTrigger) -> dict[str, Any]:
    async def first() -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


def make_endpoint(sagemaker: Any, name: str) -> None:
    role = "arn:aws:iam::123456789012:role/slipway-endpoint"
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "x"}, ExecutionRoleArn=role)
    variant = {"VariantName": "main", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
