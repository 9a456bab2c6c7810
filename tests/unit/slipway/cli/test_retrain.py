from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]


def test_retrain_starts_a_run_with_what_was_asked_for(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.retrain")
    done = slipway("retrain", "flights", "--reason", "new data", "--set", "window_days=90", "--dry-run")
    assert done.exit_code == 0, done.output
    (run,) = airflow.runs
    assert run["dag_id"] == "flights.retrain"
    assert run["conf"] == {"reason": "new data", "overrides": {"window_days": 90}, "dry_run": True}


def test_without_options_nothing_is_sent(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.retrain")
    assert slipway("retrain", "flights").exit_code == 0
    assert airflow.runs[0]["conf"] == {}


def test_a_service_that_is_not_retrained_is_named(airflow: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("retrain", "nothing")
    assert done.exit_code == 2
    assert "nothing" in done.output
