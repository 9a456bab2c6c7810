"""Metrics of predictions on held-out rows, in numpy, so that every engine is measured by the same ruler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway_trainer.job import Task

Array = NDArray[np.float64]
_TINY = 1e-15


@dataclass(frozen=True)
class Predictions:
    """Answers of a model beside the truth.

    Args:
        truth: Class numbers from 0, or values.
        predicted: Predicted class number, or value.
        chances: One row per row of truth and one column per class; empty (n, 0) for regression and for classifiers
            that give none.
    """

    truth: Array
    predicted: Array
    chances: Array

    def take(self, rows: NDArray[np.intp]) -> Predictions:
        """The predictions of some rows."""
        return Predictions(self.truth[rows], self.predicted[rows], self.chances[rows])

    def __len__(self) -> int:
        return len(self.truth)


Metric = Callable[[Predictions], float]


def area_under_roc(p: Predictions) -> float:
    """Chance that a random positive is ranked above a random negative; ties count half (Mann-Whitney U)."""
    positive = p.truth == 1
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others or p.chances.shape[1] < 2:
        return float("nan")
    order = np.argsort(p.chances[:, 1], kind="stable")  # which is fast where the rows are in this order already
    scores = p.chances[order, 1]
    tie = np.cumsum(np.r_[False, scores[1:] != scores[:-1]])
    counts = np.bincount(tie)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[tie]
    return float((ranks[positive[order]].sum() - count * (count + 1) / 2.0) / (count * others))


def area_under_pr(p: Predictions) -> float:
    """Average precision: precision at each threshold, weighted by the recall that it adds."""
    positive = p.truth == 1
    if not positive.any() or p.chances.shape[1] < 2:
        return float("nan")
    order = np.argsort(p.chances[:, 1], kind="stable")[::-1]
    scores, hits = p.chances[order, 1], np.cumsum(positive[order])
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]
    precision, recall = hits[last] / (last + 1.0), hits[last] / hits[-1]
    return float(np.sum(np.diff(np.r_[0.0, recall]) * precision))


def accuracy(p: Predictions) -> float:
    """Share of rows whose class is right."""
    return float(np.mean(p.truth == p.predicted))


def precision(p: Predictions) -> float:
    """Share of true positives among those called positive; 0 when none is."""
    called = p.predicted == 1
    return float(np.mean(p.truth[called] == 1)) if called.any() else 0.0


def recall(p: Predictions) -> float:
    """Share of the positives that are found."""
    positive = p.truth == 1
    return float(np.mean(p.predicted[positive] == 1)) if positive.any() else float("nan")


def f1(p: Predictions) -> float:
    """Harmonic mean of precision and recall of class 1."""
    return _f1_of(p, 1.0)


def macro_f1(p: Predictions) -> float:
    """Mean over the classes of each class's F1."""
    return float(np.mean([_f1_of(p, label) for label in np.unique(p.truth)]))


def log_loss(p: Predictions) -> float:
    """Mean negative logarithm of the chance given to the class that came true."""
    if not p.chances.shape[1]:
        return float("nan")
    column = p.truth.astype(int)
    known = (column >= 0) & (column < p.chances.shape[1])
    given = np.where(known, p.chances[np.arange(len(p)), np.where(known, column, 0)], 0.0)
    return float(-np.mean(np.log(np.clip(given, _TINY, 1.0))))


def brier(p: Predictions) -> float:
    """Mean squared difference of the chance of class 1 and what came true."""
    return float(np.mean((p.chances[:, 1] - p.truth) ** 2)) if p.chances.shape[1] == 2 else float("nan")


def mse(p: Predictions) -> float:
    """Mean squared error."""
    return float(np.mean((p.truth - p.predicted) ** 2))


def rmse(p: Predictions) -> float:
    """Root of the mean squared error, in units of the target."""
    return float(np.sqrt(mse(p)))


def mae(p: Predictions) -> float:
    """Mean absolute error, in units of the target."""
    return float(np.mean(np.abs(p.truth - p.predicted)))


def mape(p: Predictions) -> float:
    """Mean absolute error as a share of the truth; not a number when a truth is 0."""
    return float(np.mean(np.abs((p.truth - p.predicted) / p.truth))) if np.all(p.truth != 0) else float("nan")


def r2(p: Predictions) -> float:
    """Share of the variance that is explained."""
    total = float(np.sum((p.truth - p.truth.mean()) ** 2))
    return 1.0 - float(np.sum((p.truth - p.predicted) ** 2)) / total if total else float("nan")


METRICS: Mapping[Task, Mapping[str, Metric]] = {
    "binary": {
        "areaUnderROC": area_under_roc,
        "areaUnderPR": area_under_pr,
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "logLoss": log_loss,
        "brier": brier,
    },
    "multiclass": {"accuracy": accuracy, "f1": macro_f1, "logLoss": log_loss},
    "regression": {"rmse": rmse, "mse": mse, "mae": mae, "mape": mape, "r2": r2},
}


def measure(task: Task, predictions: Predictions) -> dict[str, float]:
    """All metrics of a task; those that cannot be computed are not a number."""
    with np.errstate(all="ignore"):
        return {name: metric(predictions) for name, metric in METRICS[task].items()}


def _f1_of(p: Predictions, label: float) -> float:
    hits = float(np.sum((p.predicted == label) & (p.truth == label)))
    called, real = float(np.sum(p.predicted == label)), float(np.sum(p.truth == label))
    return 2.0 * hits / (called + real) if called + real else 0.0
