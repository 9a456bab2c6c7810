from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from slipway_airflow.notifiers.service_topic import ServiceTopicNotifier


@pytest.fixture
def topic(aws: Callable[[str], Any]) -> str:
    return str(aws("sns").create_topic(Name="models")["TopicArn"])


@pytest.fixture
def received(aws: Callable[[str], Any], topic: str) -> Callable[[], list[dict[str, Any]]]:
    """What a subscriber of the topic gets."""
    sqs = aws("sqs")
    queue = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def receive() -> list[dict[str, Any]]:
        return [json.loads(message["Body"]) for message in sqs.receive_message(QueueUrl=queue).get("Messages", [])]

    return receive


def context() -> Any:
    run = SimpleNamespace(dag_id="flights.deploy", run_id="manual__1")
    return {"dag_run": run, "run_id": "manual__1", "dag": DAG(dag_id="flights.deploy", schedule=None)}


def test_subscribers_get_subject_text_and_address(topic: str, received: Callable[[], list[dict[str, Any]]]) -> None:
    notifier = ServiceTopicNotifier(topic_arn=topic, subject="{{ run_id }}\nfailed", message="Look at {{ run_id }}.")
    notifier(context())
    (message,) = received()
    assert message["Subject"] == "manual__1 failed"
    assert message["Message"].startswith("Look at manual__1.")
    assert message["Message"].endswith("/dags/flights.deploy/runs/manual__1")


def test_a_long_subject_is_cut(topic: str, received: Callable[[], list[dict[str, Any]]]) -> None:
    ServiceTopicNotifier(topic_arn=topic, subject="x" * 300, message="m")(context())
    assert received()[0]["Subject"] == "x" * 100


def test_a_topic_that_cannot_be_told_fails_nothing(
    aws: Callable[[str], Any], received: Callable[[], list[dict[str, Any]]], topic: str
) -> None:
    ServiceTopicNotifier(topic_arn=f"{topic}-gone", subject="s", message="m")(context())
    assert received() == []
