from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from slipway.errors import InvalidParamsError


@pytest.fixture
def dag(bag: DagBag) -> DAG:
    return bag.dags["flights.undeploy"]


def test_only_a_person_starts_it_and_it_only_says_unless_told_otherwise(dag: DAG) -> None:
    assert dag.schedule is None
    assert {name: dag.params[name] for name in ("dry_run", "stage", "archive")} == {
        "dry_run": True,
        "stage": "both",
        "archive": True,
    }


def test_images_go_after_both_endpoints_and_stay_when_one_could_not_go(dag: DAG) -> None:
    images = dag.get_task("images")
    assert images.upstream_task_ids == {"prod", "dev"}
    assert images.trigger_rule == "none_failed"


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"stage": "prod", "archive": False}, True),
        ({"stage": "prod", "archive": True}, False),
        ({"stage": "both", "archive": False}, False),
    ],
)
@pytest.mark.parametrize("task_id", ["prod", "dev", "images"])
def test_images_are_not_taken_from_under_an_endpoint(
    dag: DAG, task_id: str, params: dict[str, Any], refused: bool
) -> None:
    context: Any = {"dag_run": SimpleNamespace(conf=params), "dag": dag, "params": params}
    check = dag.get_task(task_id)._pre_execute_hook
    if not refused:
        check(context)
        return
    with pytest.raises(InvalidParamsError, match="Nothing was deleted"):
        check(context)
