"""Drift and quality as metrics of the champion's training run, beside what it was accepted with."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from slipway.drift.publication.cloudwatch import effects
from slipway.drift.quality.report import QualityReport
from slipway.drift.run_report import RunReport
from slipway.drift.status import Status

if TYPE_CHECKING:
    from mlflow import MlflowClient

_BATCH = 500


def metric_values(report: RunReport) -> dict[str, float]:
    """Return the metrics by name, as MLflow accepts names."""
    found = {f"drift/{re.sub(r'[^0-9A-Za-z_. -]', '_', column)}": value for column, value in effects(report).items()}
    return {"drift/drifted": float(report.status is Status.DRIFTED), "drift/rows": float(report.rows), **found}


def quality_values(quality: QualityReport) -> dict[str, float]:
    """Return the metrics of all rows, their 95 % intervals, and the share of calls whose outcome is known."""
    whole = quality.whole
    found = {f"quality/{name}": metric.value for name, metric in whole.metrics.items()}
    found |= {f"quality/{name}.low": metric.low for name, metric in whole.metrics.items()}
    found |= {f"quality/{name}.high": metric.high for name, metric in whole.metrics.items()}
    return {**found, "quality/label_coverage": whole.rows / whole.calls} if whole.calls else found


def log_metrics(client: MlflowClient, run_id: str, values: Mapping[str, float], until: datetime) -> None:
    """Log metrics as of a time; logging a run again adds nothing new to its curve.

    Args:
        client: MLflow.
        run_id: The champion's run.
        values: From :func:`metric_values` or :func:`quality_values`; what is not finite is left out.
        until: End of the window that they describe.
    """
    from mlflow.entities import Metric

    at = int(until.timestamp() * 1000)
    metrics = [Metric(name, value, at, at // 1000) for name, value in values.items() if math.isfinite(value)]
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
