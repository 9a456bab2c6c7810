from __future__ import annotations

from typing import Any

from slipway_airflow.task_run import TaskRun


def test_a_person_and_a_reason_are_known(context: Any) -> None:
    run = TaskRun.of(context("approve", user="carol", reason="hotfix"))
    assert (run.user, run.reason) == ("carol", "hotfix")
    assert (run.dag_id, run.run_id, run.task_id) == ("flights.deploy", "manual__1", "approve")


def test_a_run_that_nobody_triggered_names_what_did(context: Any) -> None:
    assert TaskRun.of(context(user=None)).user == "asset"


def test_the_lease_belongs_to_the_run_not_to_a_task(context: Any) -> None:
    one, other = TaskRun.of(context("record")), TaskRun.of(context("finish"))
    assert one.holder == other.holder == "flights.deploy/manual__1"
    assert TaskRun.of(context(run_id="manual__2")).holder != one.holder
