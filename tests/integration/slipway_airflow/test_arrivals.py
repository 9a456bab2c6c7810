"""Data that arrives in S3 is told to a queue, directly or by EventBridge, and the watcher of the queue fires."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from slipway_dags.assets import arrived

from .conftest import REGION

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
ACCOUNT = "123456789012"


def first_event(queue_url: str) -> dict[str, Any]:
    """What the watcher's trigger, made anew from its stored form as the triggerer does, fires with."""
    (watcher,) = arrived("parcels", queue_url, "aws_default").watchers
    _, arguments = watcher.trigger.serialize()
    trigger = type(watcher.trigger)(**arguments)

    async def wait() -> dict[str, Any]:
        return (await anext(trigger.run())).payload

    return asyncio.run(asyncio.wait_for(wait(), 60))


@pytest.fixture
def lake(aws, request):
    """A bucket and a queue of this test alone."""
    name = request.node.callspec.id
    s3, sqs = aws.client("s3"), aws.client("sqs")
    s3.create_bucket(Bucket=f"lake-{name}", CreateBucketConfiguration={"LocationConstraint": REGION})
    url = sqs.create_queue(QueueName=f"arrivals-{name}")["QueueUrl"]
    return f"lake-{name}", url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:arrivals-{name}"


def notify_directly(aws, bucket: str, queue_arn: str) -> None:
    rule = {"QueueArn": queue_arn, "Events": ["s3:ObjectCreated:*"]}
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )


def notify_by_event_bridge(aws, bucket: str, queue_arn: str) -> None:
    aws.client("s3").put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    events = aws.client("events")
    pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bucket, Targets=[{"Id": "queue", "Arn": queue_arn}])


@pytest.mark.parametrize(
    "notify",
    [pytest.param(notify_directly, id="s3"), pytest.param(notify_by_event_bridge, id="event-bridge")],
)
def test_an_object_fires_the_watcher_once(aws, lake, notify):
    bucket, url, arn = lake
    notify(aws, bucket, arn)
    aws.client("s3").put_object(Bucket=bucket, Key="parcels/a.csv", Body=b"size\n1\n")
    event = first_event(url)
    assert event["status"] == "success"
    assert any("parcels/a.csv" in message["Body"] for message in event["message_batch"])
    left = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    assert left["Attributes"]["ApproximateNumberOfMessages"] == "0"
