from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

Read = Callable[[], DagBag]
Promote = Callable[[str], DAG]

PLAIN = [
    "record",
    "prepare",
    "verify",
    "step_1.shift",
    "step_1.judge",
    "step_2.shift",
    "step_2.judge",
    "finish.shift",
    "finish.judge",
    "finish.champion",
    "finish.retire",
    "roll_back",
    "outcome",
]


@pytest.fixture
def promote(project: Path, read_dags: Read) -> Promote:
    """The DAG of a service whose section ``promote`` is given as YAML."""

    def read(section: str) -> DAG:
        path = project / "services" / "churn.yaml"
        path.write_text(f"{path.read_text()}promote: {{weights_pct: [5, 50]{section}}}\n")
        found = read_dags()
        assert found.import_errors == {}
        return found.dags["churn.promote"]

    return read


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def test_without_hooks_and_gates_there_are_only_steps(promote: Promote) -> None:
    dag = promote("")
    assert set(dag.task_ids) == set(PLAIN)
    assert set(pairwise(PLAIN)) <= edges(dag)
    roll_back = dag.get_task("roll_back")
    assert roll_back.is_teardown
    assert roll_back.on_failure_fail_dagrun is False
    assert dag.get_task("outcome").is_teardown
    assert dag.get_task("outcome").on_failure_fail_dagrun is True


def test_hooks_stand_where_the_spec_asks_in_its_order(promote: Promote) -> None:
    dag = promote(
        ", hooks: [{name: load, url: 'https://x.example/load', at: [before, after]},"
        " {name: stock, url: 'https://x.example/stock', at: [between]},"
        " {name: last, url: 'https://x.example/last', at: [1, 3]}]"
    )
    assert set(dag.task_ids) - set(PLAIN) == {
        "step_1.hook_load",
        "step_1.hook_last",
        "step_2.hook_stock",
        "finish.hook_stock",
        "finish.hook_last",
        "finish.after_hook_load",
    }
    chains = [
        ["verify", "step_1.hook_load", "step_1.hook_last", "step_1.shift"],
        ["step_1.judge", "step_2.hook_stock", "step_2.shift"],
        ["step_2.judge", "finish.hook_stock", "finish.hook_last", "finish.shift"],
        ["finish.judge", "finish.after_hook_load", "finish.champion"],
    ]
    found = edges(dag)
    assert all(edge in found for steps in chains for edge in pairwise(steps))
    assert ("step_1.judge", "step_2.shift") not in found


def test_a_gate_is_guarded_and_both_have_to_end_before_the_traffic_moves(promote: Promote) -> None:
    dag = promote(", gates: [2, after], hooks: [{name: load, url: 'https://x.example/', at: [2]}]")
    found = edges(dag)
    assert set(dag.task_ids) - set(PLAIN) == {
        "step_2.hook_load",
        "step_2.gate",
        "step_2.guard",
        "finish.after_gate",
        "finish.after_guard",
    }
    for task in ("step_2.gate", "step_2.guard"):
        assert {("step_2.hook_load", task), (task, "step_2.shift")} <= found
    assert dag.get_task("step_2.shift").upstream_task_ids == {"step_2.gate", "step_2.guard"}
    assert {("finish.after_gate", "finish.champion"), ("finish.after_guard", "finish.champion")} <= found
    gate, guard = dag.get_task("step_2.gate"), dag.get_task("step_2.guard")
    assert gate.response_timeout.total_seconds() == 72 * 3600
    assert guard.execution_timeout > gate.response_timeout
    assert guard.deferrable is True


def test_a_skipped_step_skips_its_questions_and_not_what_follows(promote: Promote) -> None:
    dag = promote(", gates: [before, between, after], hooks: [{name: load, url: 'https://x.example/', at: [before]}]")
    asked = [task for task in dag.tasks if task.task_id.split(".")[-1].startswith(("hook", "gate", "guard", "after"))]
    assert len(asked) == 9
    assert {task.trigger_rule for task in asked} == {TriggerRule.NONE_FAILED}


def test_a_hook_has_its_own_time(promote: Promote) -> None:
    dag = promote(", hooks: [{name: slow, url: 'https://x.example/', timeout_seconds: 600}]")
    assert dag.get_task("step_1.hook_slow").execution_timeout.total_seconds() == 630


def test_a_hook_whose_function_is_not_there_makes_the_spec_invalid(project: Path, read_dags: Read) -> None:
    path = project / "services" / "churn.yaml"
    path.write_text(path.read_text() + "promote:\n  hooks:\n  - name: stock\n    function: stock.py:enough\n")
    assert "churn.promote" not in (before := read_dags()).dags
    assert "churn.yaml:7: promote.hooks[0].function: found 'stock.py:enough'" in before.dags["churn.invalid"].doc_md
    (project / "hooks").mkdir()
    (project / "hooks" / "stock.py").write_text("def enough(question):\n    return True\n")
    assert "step_1.hook_stock" in read_dags().dags["churn.promote"].task_ids


def test_clearing_a_task_with_what_follows_takes_the_first_task_and_the_teardowns_along(promote: Promote) -> None:
    """Why ``record`` must not skip in a run that is done: Airflow would skip all that follows it here."""
    stored = DagSerialization.from_dict(DagSerialization.to_dict(promote("")))
    cleared = stored.partial_subset(["finish.champion"], include_downstream=True, include_upstream=False)
    assert set(cleared.task_dict) == {"record", "finish.champion", "finish.retire", "roll_back", "outcome"}
