"""Data that arrives in S3 starts a retraining: the queue is told, a watcher in the triggerer reads it, a run trains."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
BUCKET, ACCOUNT = "arrivals", "123456789012"


@pytest.fixture
def queue_url(world) -> str:
    """The queue's address; nobody has made the queue yet."""
    return f"{world.settings.aws_url}/{ACCOUNT}/fed-arrivals"


def rows() -> bytes:
    """Rows that the small model can be trained on, a minute apart."""
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(400, 3)), columns=["a", "b", "c"])
    frame["y"] = frame @ [1.0, -2.0, 0.5] + random.normal(0, 0.1, len(frame))
    frame["at"] = pd.date_range("2026-01-01", periods=len(frame), freq="min")
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


def tell_the_queue(world) -> None:
    """Make the bucket and the queue, and have S3 tell one of the other."""
    sqs, s3 = world.stage.aws("sqs"), world.stage.aws("s3")
    sqs.create_queue(QueueName="fed-arrivals")
    rule = {"QueueArn": f"arn:aws:sqs:{sqs.meta.region_name}:{ACCOUNT}:fed-arrivals", "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]})


def test_an_object_that_arrives_is_trained_on(world, queue_url) -> None:
    s3 = world.stage.aws("s3")
    s3.create_bucket(Bucket=BUCKET)
    version = world.register("fed", alias="champion")
    data = f"data: {{s3: s3://{BUCKET}/fed/, settle_seconds: 0, arrivals_queue: '{queue_url}'}}"
    world.declare("fed", f"retrain: {{engine: python, task: regression, target: y, time_column: at, {data}}}")
    world.until(lambda: any(dag.dag_id == "fed.retrain" for dag in world.airflow.dags()), 120)
    assert not world.airflow.dag_runs("fed.retrain"), "nothing has arrived"

    tell_the_queue(world)
    s3.put_object(Bucket=BUCKET, Key="fed/day.parquet", Body=rows())

    [run] = world.until(lambda: world.airflow.dag_runs("fed.retrain"), 120)
    run = world.finished(run)
    assert run.state == "success", world.errors(run)
    assert run.run_type == "asset_triggered"
    assert world.tasks(run)["hold"].state == "success", "without a gate a person decides"
    made = {str(each.version) for each in world.stage.mlflow.search_model_versions("name = 'fed'")} - {version}
    assert len(made) == 1
