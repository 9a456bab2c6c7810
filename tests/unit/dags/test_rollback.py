from __future__ import annotations

from itertools import pairwise

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

CHAIN = ["record", "switch", "champion", "settle", "verify", "give_back", "outcome"]


@pytest.fixture
def dag(bag: DagBag) -> DAG:
    return bag.dags["flights.rollback"]


def test_the_tasks_follow_each_other_and_only_a_person_starts_them(dag: DAG) -> None:
    edges = {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}
    assert set(pairwise(CHAIN)) <= edges
    assert dag.schedule is None
    assert list(dag.params) == ["reason"]


def test_the_lease_is_given_back_however_the_run_goes_and_a_failure_stays_red(dag: DAG) -> None:
    give_back = dag.get_task("give_back")
    assert dag.get_task("record").is_setup
    assert give_back.is_teardown
    assert give_back.on_failure_fail_dagrun is False


def test_a_run_that_is_ended_before_its_end_is_red(dag: DAG) -> None:
    outcome = dag.get_task("outcome")
    assert outcome.is_teardown
    assert outcome.on_failure_fail_dagrun
    assert outcome.upstream_task_ids >= {"verify", "give_back"}


def test_verification_is_the_last_word(dag: DAG) -> None:
    assert dag.get_task("verify").upstream_task_ids >= {"settle"}
