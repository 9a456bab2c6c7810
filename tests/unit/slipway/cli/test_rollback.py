from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]


def recorded(airflow: FakeAirflow, state: str, route: str = "warm") -> Callable[[], None]:
    def happen() -> None:
        run = airflow.runs[0]
        run["state"] = "running" if state == "success" else "failed"
        airflow.add_task(run["dag_run_id"], "record", state)
        airflow.xcoms["record", "return_value"] = {"route": route, "model_version": 3, "release_id": "a" * 12}

    return happen


@pytest.mark.parametrize(("route", "said"), [("warm", "seconds"), ("config", "minutes")])
def test_rollback_says_how_long_it_takes(airflow: FakeAirflow, slipway: Slipway, route: str, said: str) -> None:
    airflow.add_dag("flights.rollback")
    airflow.on_look.append(recorded(airflow, "success", route))
    done = slipway("rollback", "flights", "--reason", "complaints")
    assert done.exit_code == 0, done.output
    assert airflow.runs[0]["conf"] == {"reason": "complaints"}
    assert "model version 3" in done.output
    assert said in done.output


def test_a_refused_rollback_says_why_and_fails(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.rollback")
    airflow.on_look.append(recorded(airflow, "failed"))
    done = slipway("rollback", "flights")
    assert done.exit_code == 1
    assert "flights is not rolled back" in done.output
