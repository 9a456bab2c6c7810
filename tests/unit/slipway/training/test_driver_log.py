from __future__ import annotations

import gzip

import boto3
import pytest
from moto import mock_aws

from slipway.errors import PermanentError
from slipway.training.driver_log import DriverLog, unpacked

URI = "s3://driver-logs/applications/1/jobs/2/SPARK_DRIVER/stdout.gz"


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="driver-logs")
        yield client


def printed(s3, text: str) -> None:
    s3.put_object(Bucket="driver-logs", Key=URI.removeprefix("s3://driver-logs/"), Body=gzip.compress(text.encode()))


def test_lines_are_read_once_and_a_half_one_is_waited_for(s3):
    log = DriverLog(s3, URI)
    assert log.new_lines(ended=False) == []
    printed(s3, "one\ntwo\nth")
    assert log.new_lines(ended=False) == ["one", "two"]
    assert log.new_lines(ended=False) == []
    printed(s3, "one\ntwo\nthree – ü\nfour")
    assert log.new_lines(ended=False) == ["three – ü"]
    assert log.new_lines(ended=True) == ["four"]
    assert log.new_lines(ended=True) == []


def test_what_could_rewrite_a_log_page_is_left_out(s3):
    printed(s3, "\x1b[31mred\x1b[0m\x07\n")
    assert DriverLog(s3, URI).new_lines(ended=True) == ["red"]


def test_a_bucket_that_may_not_be_read_is_told(s3):
    with pytest.raises(PermanentError, match=r"Cannot read s3://other/stdout\.gz: NoSuchBucket"):
        DriverLog(s3, "s3://other/stdout.gz").new_lines(ended=False)


def test_gzip_in_parts_and_gzip_that_breaks_off_are_unpacked_as_far_as_they_go():
    whole = gzip.compress(b"first\n") + gzip.compress(b"second\n")
    assert unpacked(whole) == b"first\nsecond\n"
    assert unpacked(whole[:-12]).startswith(b"first\n")
    assert unpacked(b"no gzip") == b""
    assert unpacked(b"") == b""
