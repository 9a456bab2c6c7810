"""The target: none missing, more than one class, and class numbers that both models agree on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway_trainer.job import Task
from slipway_trainer.metric import Predictions
from slipway_trainer.problem import BadDataError


def check_classes(task: Task, counts: dict[str, int], missing: int, target: str) -> None:
    """Refuse a target that nothing can be learned from.

    Args:
        task: Kind of prediction.
        counts: Training rows by class; ignored for regression.
        missing: Rows of the window without a target.
        target: Name of the column.

    Raises:
        BadDataError: A target is missing, or there is one class only, or more than two of a binary task.
    """
    if missing:
        raise BadDataError(f"{missing} rows have no {target!r} (null or NaN); a target must be known to train on it")
    if task == "regression":
        return
    if len(counts) < 2:
        raise BadDataError(f"all training rows have {target!r} = {next(iter(counts), 'nothing')}: one class only")
    if task == "binary" and len(counts) > 2:
        raise BadDataError(f"{target!r} has {len(counts)} classes, the task is binary: {', '.join(list(counts)[:10])}")


def classified(
    truth: Sequence[Any], predicted: Sequence[Any], chances: NDArray[np.float64], order: Sequence[Any]
) -> Predictions:
    """Predictions in class numbers: classes in their natural order, so that class 1 of a binary task is the greater.

    Args:
        truth: The true labels.
        predicted: The predicted labels.
        chances: One column for each label of ``order``; no column when the model gives none.
        order: The model's own order of labels.
    """
    labels = sorted({*order, *truth}, key=_natural)
    number = {label: index for index, label in enumerate(labels)}
    arranged = np.zeros((len(truth), len(labels) if chances.shape[1] else 0))
    if chances.shape[1]:
        arranged[:, [number[label] for label in order]] = chances
    return Predictions(
        np.array([number[label] for label in truth], dtype=float),
        np.array([number.get(label, -1) for label in predicted], dtype=float),
        arranged,
    )


def _natural(label: Any) -> tuple[int, Any]:
    return (0, float(label)) if isinstance(label, int | float | np.number) else (1, str(label))
