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


def test_hyperparameters_are_given_as_a_mapping(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.retrain")
    done = slipway("retrain", "flights", "--set", "hyperparameters={model__C: 0.1, model__penalty: l2}")
    assert done.exit_code == 0, done.output
    assert airflow.runs[0]["conf"] == {"overrides": {"hyperparameters": {"model__C": 0.1, "model__penalty": "l2"}}}


def test_what_a_retraining_would_refuse_starts_nothing(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.retrain")
    for wrong, words in {
        "hyperparameters=model__C": "hyperparameters: Input should be a valid dictionary",
        "hyperparameters={model__C: [1]}": "hyperparameters.model__C",
        "hyperparameters={model__C: .nan}": "hyperparameters.model__C",
        "since=yesterday": "since: Value error, Invalid isoformat string: 'yesterday'",
        "window_day=3": "Did you mean 'window_days'?",
    }.items():
        done = slipway("retrain", "flights", "--set", wrong)
        assert done.exit_code == 2, wrong
        assert words in done.stderr
    assert airflow.runs == []
