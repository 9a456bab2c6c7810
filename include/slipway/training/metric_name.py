"""The metrics that the trainer computes, by task: what a gate expression may name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Literal

from slipway.training.gate_expression import GateExpression

Task = Literal["binary", "multiclass", "regression"]

METRICS: Mapping[Task, tuple[str, ...]] = {
    "binary": ("areaUnderROC", "areaUnderPR", "accuracy", "precision", "recall", "f1", "logLoss", "brier"),
    "multiclass": ("accuracy", "f1", "logLoss"),
    "regression": ("rmse", "mse", "mae", "mape", "r2"),
}


def unknown_metric(expression: GateExpression, task: Task) -> str | None:
    """Say why the trainer cannot give an expression's metric; None when it can.

    Args:
        expression: The parsed expression.
        task: Kind of prediction.
    """
    if expression.metric in METRICS[task]:
        return None
    near = difflib.get_close_matches(expression.metric, METRICS[task], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"a metric of task {task}: {', '.join(METRICS[task])}{hint}"
