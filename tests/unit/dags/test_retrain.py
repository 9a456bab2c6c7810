"""``<service>.retrain``: only services that are retrained have it, and it wakes their deployment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

RETRAIN = """
retrain:
  schedule: "@monthly"
  timezone: Europe/Berlin
  data: {s3: s3://lake/churn/}
  engine: python
  target: gone
  time_column: at
  max_hours: 2
  deploy: threshold
  when: ["areaUnderROC >= 0.7"]
"""


@pytest.fixture
def bag_with_retrain(project: Path, read_dags: Callable[[], DagBag]) -> DagBag:
    with (project / "services" / "churn.yaml").open("a") as file:
        file.write(RETRAIN)
    return read_dags()


@pytest.fixture
def dag(bag_with_retrain: DagBag) -> DAG:
    return bag_with_retrain.dags["churn.retrain"]


def test_only_a_service_that_is_retrained_has_the_dag(bag_with_retrain: DagBag) -> None:
    assert not bag_with_retrain.import_errors
    assert "fraud.retrain" not in bag_with_retrain.dags
    assert bag_with_retrain.dags["fraud.deploy"].schedule is None
    assert [each.name for each in bag_with_retrain.dags["churn.deploy"].schedule] == ["candidate/churn"]


def test_the_tasks_follow_one_another_and_the_gate_parts_them(dag: DAG) -> None:
    following = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    assert following == {
        "await_data": {"validate_data"},
        "validate_data": {"refit"},
        "refit": {"gate"},
        "gate": {"register", "hold"},
        "register": set(),
        "hold": set(),
    }


def test_only_register_emits_the_candidate(dag: DAG) -> None:
    emitted = {task.task_id: [each.name for each in task.outlets] for task in dag.tasks if task.outlets}
    assert emitted == {"register": ["candidate/churn"]}


def test_the_spec_decides_schedule_gate_and_time(dag: DAG) -> None:
    assert str(dag.schedule.timetable.timezone) == "Europe/Berlin"
    assert dag.get_task("gate").expressions == ("areaUnderROC >= 0.7",)
    assert dag.get_task("gate").mode == "{{ params.overrides.get('deploy') or 'threshold' }}"
    assert dag.get_task("refit").execution_timeout.total_seconds() == 2 * 3600
    assert set(dag.params) == {"reason", "dry_run", "overrides"}


def test_the_gate_gets_what_the_training_found(dag: DAG) -> None:
    metrics = {"candidate": {"areaUnderROC": 0.8}, "champion": {"areaUnderROC": 0.7}}
    found = {("refit", "metrics"): metrics, ("gate", "verdict"): {"action": "deploy"}}
    instance = SimpleNamespace(xcom_pull=lambda task_ids, key: found[task_ids, key])
    context = {"ti": instance, "params": {"overrides": {"deploy": "automatic"}}}
    gate, register = dag.get_task("gate"), dag.get_task("register")

    def rendered(text: str) -> object:
        return dag.get_template_env().from_string(text).render(context)

    assert rendered(gate.candidate) == {"areaUnderROC": 0.8}
    assert rendered(gate.champion) == {"areaUnderROC": 0.7}
    assert rendered(gate.mode) == "automatic"
    assert rendered(register.verdict) == {"action": "deploy"}


@pytest.mark.parametrize(
    ("source", "sensor"),
    [
        ("{jdbc: {connection: db, table: gone, watermark_column: id}}", "TableNewDataSensor"),
        ("{table: sales.gone}", "CatalogNewDataSensor"),
    ],
)
def test_the_source_decides_the_sensor(
    project: Path, read_dags: Callable[[], DagBag], source: str, sensor: str
) -> None:
    text = RETRAIN.replace("{s3: s3://lake/churn/}", source).replace("engine: python", "engine: spark")
    with (project / "services" / "churn.yaml").open("a") as file:
        file.write(text)
    dag = read_dags().dags["churn.retrain"]
    assert type(dag.get_task("await_data")).__name__ == sensor
    assert dag.get_task("await_data").downstream_task_ids == {"validate_data"}


def test_prepare_is_there_only_when_the_spec_asks(project: Path, read_dags: Callable[[], DagBag], dag: DAG) -> None:
    assert "prepare" not in dag.task_dict
    path = project / "services" / "churn.yaml"
    path.write_text(path.read_text() + "  prepare: {function: churn.py:prepare}\n")
    changed = read_dags().dags["churn.retrain"]
    assert changed.get_task("await_data").downstream_task_ids == {"prepare"}
    assert changed.get_task("prepare").downstream_task_ids == {"validate_data"}


QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/churn-data"


@pytest.mark.parametrize("schedule", ["", '  schedule: "@monthly"\n'])
def test_a_queue_is_watched_beside_drift_and_time(
    project: Path, read_dags: Callable[[], DagBag], schedule: str
) -> None:
    text = RETRAIN.replace('  schedule: "@monthly"\n', schedule)
    text = text.replace("{s3: s3://lake/churn/}", f"{{s3: s3://lake/churn/, arrivals_queue: {QUEUE}}}")
    with (project / "services" / "churn.yaml").open("a") as file:
        file.write(text)
    dag = read_dags().dags["churn.retrain"]
    condition = dag.schedule.asset_condition if schedule else dag.schedule
    assets = {asset.name: asset for asset in condition.objects}
    assert set(assets) == {"drifted/churn", "arrived/churn"}
    (watcher,) = assets["arrived/churn"].watchers
    assert watcher.trigger.sqs_queue == QUEUE
    assert watcher.trigger.aws_conn_id == "aws_default"
    stored = DagSerialization.to_dict(dag)
    assert QUEUE in str(stored)
    assert DagSerialization.from_dict(stored).task_ids == dag.task_ids
