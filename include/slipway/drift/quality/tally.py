"""What is counted of joined rows: sums that add up over capture objects, hours and slices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slipway.drift.quality.interval import Estimate, area, mean, proportion, root

Task = Literal["binary", "multiclass", "regression"]

#: Scores are counted in so many bins, which makes the area under the ROC curve a sum of exact counts. Ties within a bin
#: count half; the error is below half the share of pairs that fall into one bin.
SCORE_BINS = 2000
_CLIP = 1e-15  # as scikit-learn's log_loss did: a certain and wrong answer must not make the sum infinite
Sums = dict[str, float]


@dataclass(frozen=True)
class Tally:
    """Counts of one slice.

    Args:
        calls: Rows that were answered.
        rows: Those of them whose outcome is known.
        sums: Additive sums by name.
        scores: For binary tasks: rows by outcome (0, 1) and bin of the score.
    """

    calls: int = 0
    rows: int = 0
    sums: Sums = field(default_factory=dict)
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, SCORE_BINS), dtype=np.int64))

    def merge(self, other: Tally) -> Tally:
        """Return the tally of both."""
        names = self.sums.keys() | other.sums.keys()
        sums = {name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0) for name in sorted(names)}
        return Tally(self.calls + other.calls, self.rows + other.rows, sums, self.scores + other.scores)


def count_binary(scores: NDArray[np.float64], outcomes: NDArray[np.float64], calls: int) -> Tally:
    """Count probabilities of class 1 against outcomes 0 and 1."""
    keep = np.isfinite(scores) & np.isin(outcomes, (0.0, 1.0))
    scores, outcomes = np.clip(scores[keep], 0.0, 1.0), outcomes[keep]
    bins = np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    counted = np.zeros((2, SCORE_BINS), dtype=np.int64)
    np.add.at(counted, (outcomes.astype(np.int64), bins), 1)
    squares = (scores - outcomes) ** 2
    likely = np.clip(np.where(outcomes == 1, scores, 1 - scores), _CLIP, 1)
    losses = -np.log(likely)
    said = scores >= 0.5
    sums = {
        "hits": float((said == (outcomes == 1)).sum()),
        "said": float(said.sum()),
        "right": float((said & (outcomes == 1)).sum()),
        "brier": float(squares.sum()),
        "brier_squares": float((squares**2).sum()),
        "loss": float(losses.sum()),
        "loss_squares": float((losses**2).sum()),
    }
    return Tally(calls, int(keep.sum()), sums, counted)


def count_classes(answers: list[str | None], outcomes: list[str | None], calls: int) -> Tally:
    """Count answers that equal the outcome."""
    pairs = [(a, b) for a, b in zip(answers, outcomes, strict=True) if a is not None and b is not None]
    return Tally(calls, len(pairs), {"hits": float(sum(a == b for a, b in pairs))})


def count_regression(answers: NDArray[np.float64], outcomes: NDArray[np.float64], calls: int) -> Tally:
    """Count the errors of numbers."""
    keep = np.isfinite(answers) & np.isfinite(outcomes)
    errors = answers[keep] - outcomes[keep]
    sums = {
        "error": float(errors.sum()),
        "absolute": float(np.abs(errors).sum()),
        "squares": float((errors**2).sum()),
        "fourths": float((errors**4).sum()),
    }
    return Tally(calls, int(keep.sum()), sums)


def metrics_of(tally: Tally, task: Task) -> dict[str, Estimate]:
    """Return the metrics of a slice under the trainer's names; those that are not defined are left out."""
    if not tally.rows:
        return {}
    if task == "binary":
        return _binary(tally)
    hits = tally.sums.get("hits", 0.0)
    return {"accuracy": proportion(hits, tally.rows)} if task == "multiclass" else _regression(tally)


def _binary(tally: Tally) -> dict[str, Estimate]:
    sums, rows = tally.sums, tally.rows
    positives = int(tally.scores[1].sum())
    found = {
        "accuracy": proportion(sums["hits"], rows),
        "brier": mean(sums["brier"], sums["brier_squares"], rows, 0.0, 1.0),
        "logLoss": mean(sums["loss"], sums["loss_squares"], rows, 0.0, -math.log(_CLIP)),
    }
    if sums["said"]:
        found["precision"] = proportion(sums["right"], int(sums["said"]))
    if positives:
        found["recall"] = proportion(sums["right"], positives)
    if 0 < positives < rows:
        found["areaUnderROC"] = _area(tally.scores[0], tally.scores[1])
    return found


def _area(negatives: NDArray[np.int64], positives: NDArray[np.int64]) -> Estimate:
    """Area under the ROC curve with DeLong's variance (Biometrics 44(3), 1988), from counts by score."""
    n, m = int(negatives.sum()), int(positives.sum())
    beaten = (np.cumsum(negatives) - negatives / 2) / n  # share of negatives below each score
    beating = 1 - (np.cumsum(positives) - positives / 2) / m
    value = float((beaten * positives).sum() / m)
    of_positives = float((positives * (beaten - value) ** 2).sum() / max(m - 1, 1))
    of_negatives = float((negatives * (beating - value) ** 2).sum() / max(n - 1, 1))
    # Of one place alone rounding would leave a spread.
    known = np.ptp(beaten[positives > 0]) > 0 and np.ptp(beating[negatives > 0]) > 0
    return area(value, math.sqrt(of_positives / m + of_negatives / n) if known else 0.0, m, n)


def _regression(tally: Tally) -> dict[str, Estimate]:
    sums, rows = tally.sums, tally.rows
    square = mean(sums["squares"], sums["fourths"], rows, 0.0)
    return {
        "bias": mean(sums["error"], sums["squares"], rows),
        "mae": mean(sums["absolute"], sums["squares"], rows, 0.0),
        "mse": square,
        "rmse": root(square),
    }
