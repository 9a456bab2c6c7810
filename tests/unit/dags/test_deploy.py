from __future__ import annotations

from itertools import pairwise

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Param

CHAIN = [
    "resolve_model",
    "sync_artifacts",
    "patch_mlmodel",
    "build_image",
    "deploy_dev",
    "verify_dev",
    "approve",
    "announce",
]


@pytest.fixture
def dag(bag: DagBag) -> DAG:
    return bag.dags["flights.deploy"]


def test_the_tasks_follow_one_another(dag: DAG) -> None:
    assert [task.task_id for task in dag.topological_sort()] == CHAIN
    edges = {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}
    assert edges == {*pairwise(CHAIN), ("resolve_model", "build_image")}


def test_it_is_started_by_people_and_by_candidates_and_wakes_the_promotion(dag: DAG, bag: DagBag) -> None:
    assert [each.name for each in dag.schedule] == ["candidate/flights"]
    (asset,) = dag.get_task("announce").outlets
    assert (asset.name, asset.uri) == ("approved/flights", "slipway://flights/approved")
    assert bag.dags["flights.promote"].schedule == [asset]


def test_the_form(dag: DAG) -> None:
    assert list(dag.params) == ["model_version", "reason", "overrides"]
    version: Param = dag.params.get_param("model_version")
    assert version.value == "candidate"
    assert dag.params.get_param("overrides").schema["propertyNames"]["enum"] == [
        "instance_type",
        "instance_count",
        "relock",
        "supersede",
    ]


def test_the_first_task_checks_what_the_run_was_given(dag: DAG) -> None:
    assert dag.get_task("resolve_model")._pre_execute_hook is not None


def test_waiting_for_the_endpoint_holds_no_worker(dag: DAG) -> None:
    assert dag.get_task("deploy_dev").deferrable is True


def test_the_approvers_and_their_time_come_from_the_spec(dag: DAG) -> None:
    approve = dag.get_task("approve")
    assert {user["id"] for user in approve.assigned_users} == set(approve.spec.approval.approver_ids)
    assert approve.response_timeout.total_seconds() == approve.spec.approval.timeout_hours * 3600
    assert list(approve.params) == ["reason"]
