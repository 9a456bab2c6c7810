from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from slipway.errors import AwsUnavailableError, InvalidInputError
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook, split_s3_uri


def test_all_clients_come_from_one_connection(aws: Callable[[str], Any], aws_server: str) -> None:
    hook = SlipwayAwsHook(aws_conn_id="aws_default")
    for service in ("s3", "sagemaker", "ecr", "logs", "sagemaker-runtime"):
        client = hook.client(service)
        assert client.meta.endpoint_url == aws_server
        assert client.meta.region_name == "eu-central-1"
        assert hook.client(service) is client


def test_region_and_config_are_handed_on_to_every_client(aws: Callable[[str], Any]) -> None:
    hook = SlipwayAwsHook(region_name="us-east-1", config={"read_timeout": 7})
    assert hook.client("s3").meta.region_name == "us-east-1"
    assert hook.client("ecr").meta.config.read_timeout == 7
    abroad = hook.client("ecr", "ap-south-1")
    assert (abroad.meta.region_name, abroad.meta.config.read_timeout) == ("ap-south-1", 7)
    assert abroad is hook.client("ecr", "ap-south-1")
    assert hook.client("ecr").meta.region_name == "us-east-1"


def test_account_and_region_are_filled_in(aws: Callable[[str], Any]) -> None:
    hook = SlipwayAwsHook()
    assert hook.fill("slipway-{account_id}-{region}") == "slipway-123456789012-eu-central-1"
    assert hook.fill("s3://fixed/{x}/") == "s3://fixed/{x}/"


def test_a_connection_can_send_one_service_elsewhere(
    aws: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"region_name": "eu-central-1", "service_config": {"s3": {"endpoint_url": "http://127.0.0.1:9000"}}}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "aws", "extra": extra}))
    hook = SlipwayAwsHook(aws_conn_id="other")
    assert hook.endpoint_url("s3") == "http://127.0.0.1:9000"
    assert hook.endpoint_url("ecr") is None


@pytest.mark.parametrize("role", [{"role_arn": "arn:aws:iam::123456789012:role/slipway"}, {}])
def test_an_sts_that_does_not_answer_is_named_and_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, role: dict[str, str]
) -> None:
    nobody = {"service_config": {"sts": {"endpoint_url": "http://127.0.0.1:1"}}, "region_name": "eu-central-1"}
    once = {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing", "extra": {**nobody, **once, **role}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    hook = SlipwayAwsHook(aws_conn_id="aws_default")
    with pytest.raises(AwsUnavailableError, match="connection aws_default"):
        _ = hook.client("cloudwatch") if role else hook.account_id


def test_its_waiters_are_slipways_own(aws: Callable[[str], Any]) -> None:
    assert SlipwayAwsHook()._list_custom_waiters() == ["endpoint_settled"]


@pytest.mark.parametrize("uri", ["/tmp/x", "gs://bucket/x", "s3:///x", "bucket/x", ""])
def test_other_places_than_s3_are_refused(uri: str) -> None:
    with pytest.raises(InvalidInputError, match="s3://bucket/key"):
        split_s3_uri(uri)


def test_an_s3_uri_is_split() -> None:
    assert split_s3_uri("s3://bucket/a/b") == ("bucket", "a/b")
    assert split_s3_uri("s3://bucket") == ("bucket", "")
