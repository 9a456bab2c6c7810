from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]


@pytest.fixture
def scheduled(airflow: FakeAirflow) -> FakeAirflow:
    """A service that is retrained monthly and was, one whose retraining is paused, and a DAG of somebody else."""
    tags = ("slipway", "retrain")
    next_run = {"timetable_summary": "0 0 1 * *", "next_dagrun_run_after": "2026-12-01T00:00:00Z"}
    airflow.add_dag("flights.retrain", tags=tags)
    airflow.dags["flights.retrain"] |= next_run
    airflow.add_run("flights.retrain", "scheduled__1", "failed", run_after="2026-10-01T00:00:00Z")
    airflow.add_run("flights.retrain", "scheduled__2", "success", run_after="2026-11-01T00:00:00Z")
    airflow.add_dag("churn.deploy", tags=("slipway", "deploy"))
    airflow.add_dag("churn.retrain", tags=tags)
    airflow.dags["churn.retrain"] |= {**next_run, "is_paused": True}
    airflow.add_dag("somebody.else", tags=("etl",))
    return airflow


def read(done: Result) -> dict[tuple[str, str], dict[str, object]]:
    assert done.exit_code == 0, done.output
    return {(each["service"], each["kind"]): each for each in json.loads(done.stdout)}


def test_it_lists_all_services_with_their_last_and_next_runs(scheduled: FakeAirflow, slipway: Slipway) -> None:
    found = read(slipway("services", "schedule", "--json"))
    assert ("somebody", "else") not in found
    assert found["flights", "retrain"] == {
        "service": "flights",
        "kind": "retrain",
        "schedule": "0 0 1 * *",
        "paused": False,
        "last_run": "2026-11-01T00:00:00+00:00",
        "last_state": "success",
        "next_run": "2026-12-01T00:00:00+00:00",
    }


def test_what_is_paused_has_no_next_run(scheduled: FakeAirflow, slipway: Slipway) -> None:
    found = read(slipway("services", "schedule", "churn", "--json"))
    assert {service for service, _ in found} == {"churn"}
    assert found["churn", "retrain"]["paused"]
    assert found["churn", "retrain"]["next_run"] is None
    assert found["churn", "retrain"]["last_run"] is None


def test_the_table_says_it_in_words(scheduled: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("services", "schedule")
    assert done.exit_code == 0
    line = next(line for line in done.stdout.splitlines() if line.startswith("churn.retrain"))
    assert line.split()[1:6] == ["0", "0", "1", "*", "*"]
    assert line.split()[-2:] == ["never", "paused"]


def test_an_unknown_service_is_named(scheduled: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("services", "schedule", "nothing")
    assert done.exit_code == 2
    assert "nothing" in done.output
