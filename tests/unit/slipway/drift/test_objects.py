from datetime import UTC, datetime

import boto3
import pytest
from moto import mock_aws

from slipway.drift.objects import capture_prefix, list_objects, parse_object

PATH = "0123456789ab/2013/04/01/10/07-05-250-e3b0c442.jsonl"


def test_variant_and_time_are_read_from_sagemakers_names():
    found = parse_object(PATH)
    assert found is not None
    assert (found.variant, found.at) == ("0123456789ab", datetime(2013, 4, 1, 10, 7, 5, 250_000, tzinfo=UTC))
    assert found.capture_key("flights-prod") == f"captures/flights-prod/{PATH}"
    assert found.profile_key("flights-prod", "d1") == f"profiles/flights-prod/d1/{PATH.removesuffix('jsonl')}slpf"


@pytest.mark.parametrize(
    ("path", "minute"), [("main/2013/04/01/10/any-name.jsonl", 0), ("main/2013/04/01/10/59-59-999.slpf", 59)]
)
def test_other_names_count_from_the_hour(path, minute):
    found = parse_object(path)
    assert found is not None
    assert (found.at.hour, found.at.minute) == (10, minute)


@pytest.mark.parametrize(
    "path",
    ["main/2013/13/01/10/a.jsonl", "main/2013/04/01/a.jsonl", "a.jsonl", "main/2013/04/01/10/a.rejected.json", ""],
)
def test_other_files_are_passed_over(path):
    assert parse_object(path) is None


@mock_aws
def test_a_window_is_listed_in_the_order_of_time_and_no_further():
    s3 = boto3.Session("a", "b", region_name="us-east-1").client("s3")
    s3.create_bucket(Bucket="bucket")
    for hour, minute in [(9, 59), (10, 0), (10, 30), (11, 59), (12, 0)]:
        s3.put_object(Bucket="bucket", Key=f"captures/e/v/2013/04/01/{hour:02}/{minute:02}-00-000-x.jsonl", Body=b"")
    s3.put_object(Bucket="bucket", Key="captures/e/other/2013/04/01/10/00-00-000-x.jsonl", Body=b"")
    since, until = datetime(2013, 4, 1, 10, tzinfo=UTC), datetime(2013, 4, 1, 12, tzinfo=UTC)
    found = list(list_objects(s3, "bucket", capture_prefix("e"), "v", since, until))
    assert [(each.at.hour, each.at.minute) for each in found] == [(10, 0), (10, 30), (11, 59)]
