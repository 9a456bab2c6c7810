from __future__ import annotations

import time
from typing import Any

import boto3
import pytest
from moto import mock_aws

from slipway.errors import AccessDeniedError
from slipway.training.training_log import TrainingLog

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def logs() -> Any:
    with mock_aws():
        yield boto3.client("logs", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="y")


def write(logs: Any, stream: str, *lines: str, at: int = 0) -> None:
    now = int(time.time() * 1000)
    events = [{"timestamp": now + at + number, "message": line} for number, line in enumerate(lines)]
    logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def make(logs: Any, *streams: str) -> None:
    for stream in streams:
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)


def test_each_line_is_read_once_in_the_streams_of_this_job_alone(logs):
    log = TrainingLog(logs, GROUP, "flights-1")
    assert log.new_lines() == []
    logs.create_log_group(logGroupName=GROUP)
    assert log.new_lines() == []
    make(logs, "flights-1/algo-1-1", "flights-11/algo-1-1")
    write(logs, "flights-1/algo-1-1", "a", "b")
    write(logs, "flights-11/algo-1-1", "of another job")
    assert log.new_lines() == ["a", "b"]
    assert log.new_lines() == []
    write(logs, "flights-1/algo-1-1", "c", at=10)
    make(logs, "flights-1/algo-1-2")
    write(logs, "flights-1/algo-1-2", "started again")
    assert log.new_lines() == ["c", "started again"]


def test_what_a_line_does_to_a_terminal_is_taken_out(logs):
    logs.create_log_group(logGroupName=GROUP)
    make(logs, "j/algo-1-1")
    write(logs, "j/algo-1-1", "\x1b[31mred\x1b[0m", "10 %\r50 %\r100 %", "x" * 3000, "two\nlines")
    red, progress, long, two = TrainingLog(logs, GROUP, "j").new_lines()
    assert (red, progress, two) == ("red", "100 %", "two ⏎ lines")
    assert len(long) == 2000


def test_a_log_that_may_not_be_read_is_told(logs):
    def refuse(**_: Any) -> None:
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeLogStreams")

    logs.meta.events.register("before-call.cloudwatch-logs.DescribeLogStreams", refuse)
    with pytest.raises(AccessDeniedError, match="Cannot read the log of j"):
        TrainingLog(logs, GROUP, "j").new_lines()
