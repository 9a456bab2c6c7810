from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from slipway.drift.publication.mlflow_metrics import log_metrics, quality_values
from slipway.drift.quality.report import Metric, QualityReport, QualityVerdict, SliceQuality

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


class Runs:
    """Keeps what is logged as MLflow does: a point is the same when name, step, time and value are."""

    def __init__(self) -> None:
        self.points: set[tuple[str, str, int, int, float]] = set()

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        assert len(metrics) <= 1000
        self.points |= {(run_id, each.key, each.step, each.timestamp, each.value) for each in metrics}


def quality(rows: int) -> QualityReport:
    auc = {"areaUnderROC": Metric(value=0.8, low=0.7, high=0.9, rows=rows)} if rows else {}
    whole = SliceQuality(feature="", value="", calls=100, rows=rows, metrics=auc)
    return QualityReport(since=NOON, until=NOON, verdict=QualityVerdict.GOOD, bounds=(), slices=(whole,), refused={})


def test_quality_becomes_metrics_with_their_intervals_and_the_share_of_known_outcomes() -> None:
    assert quality_values(quality(80)) == {
        "quality/areaUnderROC": 0.8,
        "quality/areaUnderROC.low": 0.7,
        "quality/areaUnderROC.high": 0.9,
        "quality/label_coverage": 0.8,
    }
    assert quality_values(QualityReport.failed(NOON)) == {}


def test_logging_again_adds_nothing_and_what_is_not_finite_is_left_out() -> None:
    runs = Runs()
    values = {**{f"drift/{number}": 0.1 for number in range(1200)}, "quality/logLoss": math.inf}
    for _ in range(2):
        log_metrics(runs, "r", values, NOON)  # type: ignore[arg-type]
    assert len(runs.points) == 1200
    assert {(step, time) for _, _, step, time, _ in runs.points} == {(1768046400, 1768046400000)}
