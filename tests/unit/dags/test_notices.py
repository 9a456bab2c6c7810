from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

from slipway_airflow.notifiers.service_topic import ServiceTopicNotifier

TOPIC = "arn:aws:sns:eu-central-1:123456789012:models"


def test_a_service_with_a_topic_tells_it(project: Path, read_dags: Callable[[], DagBag]) -> None:
    path = project / "services" / "churn.yaml"
    path.write_text(f"{path.read_text()}notify: {{sns_topic_arn: '{TOPIC}'}}\n")
    found = read_dags().dags
    for dag_id in ("churn.deploy", "churn.promote"):
        (notifier,) = found[dag_id].on_failure_callback
        assert isinstance(notifier, ServiceTopicNotifier)
        assert notifier.topic_arn == TOPIC
    (waiting,) = found["churn.deploy"].get_task("approve").notifiers
    assert "waits for approval" in waiting.subject
    assert not found["fraud.deploy"].on_failure_callback
    assert not found["fraud.deploy"].get_task("approve").notifiers
