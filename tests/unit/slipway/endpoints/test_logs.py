"""The end of a container's log, out of a CloudWatch Logs in memory (moto)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from slipway.endpoints.logs import log_group, log_tail
from slipway.errors import AwsUnavailableError

NOW = int(time.time() * 1000) - 60_000  # CloudWatch Logs refuses events of the future


@pytest.fixture
def logs() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("logs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")


def write(logs: Any, stream: str, *lines: tuple[int, str]) -> None:
    group = log_group("flights-dev")
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    events = [{"timestamp": NOW + offset, "message": text} for offset, text in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def test_the_last_lines_in_order(logs: Any) -> None:
    write(logs, "a/i-1", *((number, f"line {number}") for number in range(100)))
    assert log_tail(logs, "flights-dev", 3) == "line 97\nline 98\nline 99"


def test_several_instances_are_merged_by_time_and_named(logs: Any) -> None:
    write(logs, "a/i-1", (1, "one"), (3, "three"))
    write(logs, "a/i-2", (2, "two"), (4, "four"))
    assert log_tail(logs, "flights-dev", 3) == "[a/i-2] two\n[a/i-1] three\n[a/i-2] four"


def test_nothing_logged(logs: Any) -> None:
    assert log_tail(logs, "flights-dev") == ""
    logs.create_log_group(logGroupName=log_group("flights-dev"))
    assert log_tail(logs, "flights-dev") == ""


def test_a_container_cannot_write_over_the_page(logs: Any) -> None:
    write(logs, "a/i-1", (1, "\x1b[2J\x1b[31mred\x1b[0m\r\x07 done\x9b"), (2, "first\nsecond\n"), (3, "x" * 9000))
    first, second, third = log_tail(logs, "flights-dev").splitlines()
    assert first == "red done"
    assert second == "first ⏎ second"
    assert len(third) == 500


def test_logs_that_do_not_answer() -> None:
    client = boto3.client(
        "logs",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(AwsUnavailableError, match="read the log of flights-dev"):
        log_tail(client, "flights-dev")
