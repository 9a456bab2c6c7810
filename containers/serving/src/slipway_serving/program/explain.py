"""Contributions of the request's columns to a prediction.

They explain the model's score, the number that the prediction is derived from: the prediction itself for most
regressors, log-odds for logistic regression and gradient boosting, the share of votes for forests. For every row and
output

    base + sum of the contributions of all columns = score

Linear models: coefficient × input, exactly. Trees: path-dependent Shapley values (see ``shapley``). What encoders and
scalers make of a column counts for that column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.program.program import NUMBERS, Program
from slipway_serving.program.shapley import MAX_CELLS, MAX_LEAVES, TreeShapley, measure

if TYPE_CHECKING:
    from slipway_serving.forms.batch import Batch

_SAME_COLUMNS = {
    "finite", "as_float32", "no_null", "not_negative", "zero_or_one", "known_categories", "shift", "add", "divide",
    "multiply", "clip", "impute", "function", "bucket", "spark_bucket", "category", "interpolate",
}  # fmt: skip
_AFTER_SCORE = {"ravel", "largest", "above", "labels", "column", "two_shares", "softmax", "function"}

Sources = list[str]


class CannotExplainError(ValueError):
    """The program's score cannot be split among the request's columns."""


class Explainer:
    """Explains one program.

    Parameters
    ----------
    document
        The program.
    columns
        ``(name, MLflow type)`` in the signature's order.

    Raises
    ------
    CannotExplainError
        The model mixes columns before it scores them, has no single score, or has trees that would take too long.
    """

    def __init__(self, document: dict[str, Any], columns: list[tuple[str, str]]) -> None:
        steps = document["steps"]
        at, sources = _scored(steps, columns)
        self._columns = [name for name, _ in columns]
        self._step = steps[at]
        self._scale = _scale(steps[at + 1 :])
        self._mirrored = _mirrored(self._step, steps[at + 1 :])
        self._groups = np.zeros((len(sources), len(self._columns)))
        self._groups[np.arange(len(sources)), [self._columns.index(source) for source in sources]] = 1.0
        self._trees = None
        if self._step["op"] == "forest":
            self._trees = TreeShapley(self._step["trees"], self._step.get("weights"))
        self._program = Program(document)

    def explain(self, batch: Batch) -> tuple[Any, dict[str, Any]]:
        """Score and explain.

        Returns
        -------
        tuple
            The predictions, and ``{"columns": […], "base": […], "values": rows × outputs × columns}``. Of two classes
            whose scores mirror each other only the second is explained.
        """
        registers = self._program.registers(batch)
        matrix = registers[self._step["in"][0]]
        if self._trees is None:
            terms = matrix[:, None, :] * self._step["weights"].T[None]
            base = np.broadcast_to(np.asarray(self._step["bias"], float), (terms.shape[1],))
        else:
            terms, base = self._trees.explain(matrix), self._trees.base
        values, base = terms @ self._groups * self._scale, base * self._scale
        if self._mirrored:
            values, base = values[:, 1:], base[1:]
        explanation = {"columns": self._columns, "base": base.tolist(), "values": values.tolist()}
        return registers[self._program.output], explanation


def check_explainable(document: dict[str, Any], columns: list[tuple[str, str]]) -> None:
    """Look whether an ``Explainer`` could be made, without the time and memory that it takes to make one.

    Raises
    ------
    CannotExplainError
        As ``Explainer`` does.
    """
    _scored(document["steps"], columns)


def _scored(steps: list[dict[str, Any]], columns: list[tuple[str, str]]) -> tuple[int, Sources]:
    """Return which step scores, and which request column each column of its input comes from."""
    at = max((index for index, step in enumerate(steps) if step["op"] in {"linear", "forest"}), default=-1)
    if at < 0:
        raise CannotExplainError("the model is neither linear nor made of trees")
    _scale(steps[at + 1 :])
    sources = trace(steps[:at], columns).get(steps[at]["in"][0])
    if sources is None:
        raise CannotExplainError("the model mixes columns before it scores them")
    if steps[at]["op"] == "forest":
        _check_trees(steps[at]["trees"])
    return at, sources


def _check_trees(trees: dict[str, Any]) -> None:
    if "cover" not in trees:
        raise CannotExplainError("the trees do not say how many training rows passed each node")
    size = measure(trees)
    if not size.is_bearable:
        raise CannotExplainError(
            f"the trees are too large: {size.leaves} leaves of up to {size.features} features make {size.cells} "
            f"numbers a row; up to {MAX_LEAVES} leaves and {MAX_CELLS} numbers are explained"
        )


def _mirrored(step: dict[str, Any], later: list[dict[str, Any]]) -> bool:
    """Whether there are two scores, of two classes, which add up to the same for every row: shares of votes do."""
    if step["op"] == "forest":
        value = np.asarray(step["trees"]["value"], float)
        sums = value.sum(axis=1)
        return value.shape[1] == 2 and np.allclose(sums, sums[0], rtol=1e-9, atol=0.0)
    weights = np.asarray(step["weights"], float)
    if weights.shape[1] != 2 or not any(following["op"] in {"largest", "softmax"} for following in later):
        return False
    return np.allclose(weights.sum(axis=1), 0.0, rtol=0.0, atol=1e-9 * np.abs(weights).max(initial=0.0))


def _scale(later: list[dict[str, Any]]) -> float:
    """Return what the sum of a forest is multiplied with afterwards."""
    scale = 1.0
    for step in later:
        if step["op"] == "divide" and np.ndim(step["by"]) == 0:
            scale /= float(step["by"])
        elif step["op"] not in _AFTER_SCORE:
            raise CannotExplainError(f"the score is changed by {step['op']}")
    return scale


def trace(steps: list[dict[str, Any]], columns: list[tuple[str, str]]) -> dict[str, Sources | None]:
    """Return, for every register, which request column each of its columns comes from; ``None`` where they mix."""
    found: dict[str, Sources | None] = {f"text:{name}": [name] for name, kind in columns if kind == "string"}
    found[NUMBERS] = [name for name, kind in columns if kind != "string"]
    for step in steps:
        inputs = [found[register] for register in step["in"]]
        known = [sources for sources in inputs if sources is not None]
        found[step["out"]] = _after(step, known) if len(known) == len(inputs) else None
    return found


def _after(step: dict[str, Any], inputs: list[Sources]) -> Sources | None:
    operation, first = step["op"], inputs[0]
    if operation in _SAME_COLUMNS:
        return first
    if operation in {"take", "null_flags"}:
        return [first[index] for index in step["columns"]]
    if operation == "concat":
        return [source for sources in inputs for source in sources]
    if operation in {"lookup_text", "lookup_number"}:
        return first * int(step["table"].shape[1])
    if operation == "one_hot":
        together = [source for sources in inputs for source in sources]
        return [source for source, width in zip(together, step["widths"], strict=True) for _ in range(width)]
    return None
