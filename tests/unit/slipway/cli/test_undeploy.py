from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import Result

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]


def ends(airflow: FakeAirflow, state: str, **results: Any) -> Callable[[], None]:
    def happen() -> None:
        run = airflow.runs[0]
        if run["state"] in ("success", "failed"):
            return
        run["state"] = state
        for task_id in ("prod", "dev", "images"):
            known = task_id in results
            airflow.add_task(run["dag_run_id"], task_id, state if known else "skipped")
            airflow.xcoms[task_id, "return_value"] = results.get(task_id)

    return happen


def test_without_delete_it_says_what_would_go_and_how_to_do_it(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.undeploy")
    said = {"would_delete": ["endpoint flights-prod"], "kept": ["model m1: something else refers to it"]}
    airflow.on_look.append(ends(airflow, "success", prod=said))
    done = slipway("undeploy", "flights")
    assert done.exit_code == 0, done.output
    assert airflow.runs[0]["conf"] == {"dry_run": True, "stage": "both", "archive": True}
    assert "would delete: endpoint flights-prod" in done.output
    assert "kept: model m1" in done.output
    assert "--delete" in done.output


def test_with_delete_it_says_what_went(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.undeploy")
    gone = {"deleted": ["endpoint flights-prod"], "kept": []}
    images = {"repository": "slipway/flights", "deleted": ["v1"]}
    airflow.on_look.append(ends(airflow, "success", prod=gone, images=images))
    done = slipway("undeploy", "flights", "--delete", "--images", "--reason", "retired")
    assert done.exit_code == 0, done.output
    conf = {"dry_run": False, "stage": "both", "archive": False, "reason": "retired"}
    assert airflow.runs[0]["conf"] == conf
    assert "deleted: endpoint flights-prod" in done.output
    assert "deleted: repository slipway/flights, image v1" in done.output
    assert "Nothing was deleted" not in done.output


def test_a_refusal_is_an_error(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.undeploy")
    airflow.on_look.append(ends(airflow, "failed", prod=None))
    done = slipway("undeploy", "flights", "--stage", "prod", "--delete")
    assert done.exit_code == 1
    assert "flights.undeploy failed at prod" in done.output


@pytest.mark.parametrize("stage", ["staging", ""])
def test_an_unknown_stage_is_refused_before_anything_is_asked(
    airflow: FakeAirflow, slipway: Slipway, stage: str
) -> None:
    done = slipway("undeploy", "flights", "--stage", stage)
    assert done.exit_code == 2
    assert airflow.runs == []
