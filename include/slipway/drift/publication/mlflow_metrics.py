"""Drift as metrics of the champion's training run, beside what it was accepted with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slipway.drift.publication.cloudwatch import effects
from slipway.drift.run_report import RunReport
from slipway.drift.status import Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BATCH = 500


def metric_values(report: RunReport) -> dict[str, float]:
    """Return the metrics by name, as MLflow accepts names."""
    found = {f"drift/{re.sub(r'[^0-9A-Za-z_. -]', '_', column)}": value for column, value in effects(report).items()}
    return {"drift/drifted": float(report.status is Status.DRIFTED), "drift/rows": float(report.rows), **found}


def log_metrics(client: MlflowClient, run_id: str, report: RunReport) -> None:
    """Log the metrics with the window's end as time; logging a run again adds nothing new to its curve."""
    from mlflow.entities import Metric

    at = int(report.until.timestamp() * 1000)
    metrics = [Metric(name, value, at, at // 1000) for name, value in metric_values(report).items()]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
