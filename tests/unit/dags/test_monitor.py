from __future__ import annotations

from itertools import pairwise

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from slipway_dags.assets import drifted


@pytest.fixture
def dag(bag: DagBag) -> DAG:
    return bag.dags["flights.monitor"]


def test_the_tasks_follow_each_other(dag: DAG) -> None:
    order = ["collect", "profile", "judge", "publish"]
    assert [task.task_id for task in dag.tasks if task.task_id != "probe"] == [*order, "react"]
    for task, following in pairwise(order):
        assert following in dag.get_task(task).downstream_task_ids


def test_a_report_that_cannot_be_written_keeps_no_drift_from_waking_the_retraining(dag: DAG) -> None:
    assert dag.get_task("react").upstream_task_ids == {"judge"}
    assert {task.task_id for task in dag.leaves} >= {"publish"}, "its failure is the run's"


def test_no_new_captures_do_not_keep_the_window_from_being_judged(dag: DAG) -> None:
    assert dag.get_task("judge").trigger_rule == "none_failed"


def test_a_failed_quality_does_not_keep_the_verdict_from_being_told(dag: DAG) -> None:
    assert dag.get_task("publish").trigger_rule == "all_done"
    assert dag.get_task("react").trigger_rule == "all_success"


def test_one_profile_task_for_each_hour(dag: DAG) -> None:
    assert dag.get_task("profile").is_mapped
    assert dag.get_task("profile").max_active_tis_per_dagrun == 4


def test_only_the_reaction_emits(dag: DAG) -> None:
    assert [task.task_id for task in dag.tasks if task.outlets] == ["react"]
    assert dag.get_task("react").outlets == [drifted("flights")]


def test_the_probe_waits_for_nobody_and_nobody_for_it(dag: DAG) -> None:
    assert not dag.get_task("probe").upstream_task_ids
    assert not dag.get_task("probe").downstream_task_ids


def test_quality_is_measured_only_where_outcomes_arrive(dag: DAG) -> None:
    from dags.monitor import monitor
    from slipway.platform import Platform
    from slipway.spec import ServiceSpec

    assert "quality" not in dag.task_ids
    asked = {"name": "x", "model": "m", "owner": "o", "monitor": {"labels": "s3://lake/outcomes/"}}
    platform = Platform.model_validate({"execution_role": "r", "base_images": {"3.11": "scratch"}})
    built = monitor(ServiceSpec.model_validate(asked), platform)
    assert built.get_task("quality").upstream_task_ids == {"collect"}
    assert built.get_task("quality").downstream_task_ids == {"publish"}
