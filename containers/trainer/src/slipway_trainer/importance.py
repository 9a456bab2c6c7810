"""Which features the new model leans on: how much worse it answers when one of them is shuffled among held-out rows.

Permutation importance (Breiman 2001, "Random Forests", section 10), on held-out rows and with the model as a whole, so
that it means the same for every engine. A feature whose information others carry as well comes out lower than it would
alone. Intervals are percentiles of the bootstrap over rows and shuffles together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from slipway_trainer.bootstrap import percentile_interval
from slipway_trainer.job import Job, Task
from slipway_trainer.metric import METRICS, Predictions
from slipway_trainer.progress import tell
from slipway_trainer.retrainer import Retrainer, Split

MAX_ROWS = 2_000
SHUFFLES = 4
_DRAWS = 200
_ROWS_AT_ONCE = 200_000
#: By kind of prediction: the metric, and another for models that give no chances; 1 where greater is better.
_METRICS: dict[Task, tuple[tuple[str, int], ...]] = {
    "binary": (("areaUnderROC", 1), ("accuracy", 1)),
    "multiclass": (("logLoss", -1), ("accuracy", 1)),
    "regression": (("rmse", -1),),
}


@dataclass(frozen=True)
class Importance:
    """What one feature is worth.

    Args:
        feature: Name of the column.
        value: By how much the metric gets worse on average when the column is shuffled.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    feature: str
    value: float
    low: float
    high: float


def importance(
    job: Job, retrainer: Retrainer[Any], fitted: Any, split: Split[Any], features: Sequence[str]
) -> dict[str, Any]:
    """Measure every feature.

    Args:
        job: Kind of prediction and seed.
        retrainer: Knows how to ask the model.
        fitted: The new model.
        split: The rows.
        features: Names of the features.

    Returns:
        ``metric``, ``rows`` and ``features``, the weightiest first; nothing when the retrainer cannot give rows.
    """
    rows = retrainer.sample(split, features, MAX_ROWS)
    if rows is None or len(rows) < 2:
        return {}
    tell(f"shuffling each of {len(features)} features among {len(rows):,} held-out rows")
    plain = retrainer.predict(fitted, retrainer.holding_out(split, rows), features)
    metric, sign = _metric(job.task, plain)
    baseline = _Drawn(job, metric, sign, plain)
    found = [
        baseline.worth(feature, answers)
        for feature, answers in _shuffled(job, retrainer, fitted, split, rows, features)
    ]
    found.sort(key=lambda each: -each.value)
    return {"metric": metric, "rows": len(rows), "features": [asdict(each) for each in found]}


def _metric(task: Task, plain: Predictions) -> tuple[str, int]:
    """The first metric that can be computed for this model."""
    for name, sign in _METRICS[task]:
        with np.errstate(all="ignore"):
            if np.isfinite(METRICS[task][name](plain)):
                return name, sign
    return _METRICS[task][-1]


def _shuffled(
    job: Job,
    retrainer: Retrainer[Any],
    fitted: Any,
    split: Split[Any],
    rows: pd.DataFrame,
    features: Sequence[str],
) -> Iterator[tuple[str, list[Predictions]]]:
    """The model's answers to each feature's shuffles; several features are asked about at once."""
    random = np.random.default_rng(job.seed)
    at_once = max(1, _ROWS_AT_ONCE // (len(rows) * SHUFFLES))
    for begin in range(0, len(features), at_once):
        group = features[begin : begin + at_once]
        copies = [_copy(rows, feature, random.permutation(len(rows))) for feature in group for _ in range(SHUFFLES)]
        stacked = pd.concat(copies, ignore_index=True)
        answers = retrainer.predict(fitted, retrainer.holding_out(split, stacked), features)
        places = np.arange(len(stacked)).reshape(len(group), SHUFFLES, len(rows))
        for number, feature in enumerate(group):
            yield feature, [answers.take(each) for each in places[number]]


def _copy(rows: pd.DataFrame, feature: str, order: NDArray[np.intp]) -> pd.DataFrame:
    copy = rows.copy()
    copy[feature] = rows[feature].array[order]
    return copy


class _Drawn:
    """The answers to the rows as they are, and the draws of rows that every feature is compared on.

    Args:
        job: Kind of prediction and seed.
        metric: Name of the metric.
        sign: 1 where greater is better, else -1.
        plain: The answers.
    """

    def __init__(self, job: Job, metric: str, sign: int, plain: Predictions) -> None:
        self._compute, self._sign = METRICS[job.task][metric], sign
        self._draws = np.random.default_rng(job.seed).integers(0, len(plain), (_DRAWS, len(plain)))
        with np.errstate(all="ignore"):
            self._plain = self._compute(plain)
            self._drawn = [self._compute(plain.take(rows)) for rows in self._draws]

    def worth(self, feature: str, shuffled: list[Predictions]) -> Importance:
        """How much worse the answers to a feature's shuffles are."""
        with np.errstate(all="ignore"):
            worse = [self._sign * (self._plain - self._compute(each)) for each in shuffled]
            drawn = [
                self._sign * (plain - self._compute(shuffled[number % len(shuffled)].take(rows)))
                for number, (plain, rows) in enumerate(zip(self._drawn, self._draws, strict=True))
            ]
        value = float(np.mean(worse))
        interval = percentile_interval(np.array(drawn), value, 95.0)
        return Importance(feature, value, interval.low, interval.high)
