from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slipway_airflow.operators.metric_gate import MetricThresholdBranchOperator


def gate(**changes: Any) -> tuple[str, dict[str, Any]]:
    pushed: dict[str, Any] = {}
    context: Any = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
    arguments = {
        "candidate": {"areaUnderROC": 0.81, "f1": 0.6},
        "champion": {"areaUnderROC": 0.80},
        "improvements": [{"metric": "areaUnderROC", "confidence_pct": 95.0, "low": 0.005, "high": 0.015}],
        "expressions": ["areaUnderROC >= 0.70"],
        **changes,
    }
    operator = MetricThresholdBranchOperator(task_id="gate", on_deploy="register", on_hold="hold", **arguments)
    return operator.choose_branch(context), pushed["verdict"]


@pytest.mark.parametrize(
    ("changes", "branch", "reason"),
    [
        ({}, "register", "areaUnderROC >= 0.70: 0.81 >= 0.7 holds"),
        ({"expressions": ["areaUnderROC >= 0.9"]}, "hold", "does not hold"),
        ({"expressions": ["areaUnderROC beats champion"]}, "register", "better by at least 0.005"),
        ({"expressions": ["areaUnderROC beats champion by 0.01 (95%)"]}, "hold", "does not hold"),
        ({"expressions": ["rmse <= 3"]}, "hold", "the candidate has no metric 'rmse'"),
        ({"candidate": {"areaUnderROC": float("nan")}}, "hold", "is not a number"),
        ({"champion": {}, "expressions": ["areaUnderROC >= champion"]}, "hold", "the champion has no metric"),
        ({"expressions": ["f1 >= 0.9", "areaUnderROC >= 0.7"], "combination": "any"}, "register", "0.81 >= 0.7 holds"),
        ({"mode": "manual"}, "hold", "a person decides"),
        ({"mode": "automatic", "expressions": ["f1 >= 0.9"]}, "register", "automatic"),
    ],
)
def test_the_branch_and_its_reason(changes, branch, reason):
    followed, verdict = gate(**changes)
    assert followed == branch
    assert reason in verdict["reason"]
    assert verdict["action"] == ("deploy" if branch == "register" else "hold")
    assert len(verdict["comparisons"]) == len(changes.get("expressions", ["one"]))
