"""The history as rows: one Parquet file a run, a row for each finding, for Athena, duckdb and pandas."""

from __future__ import annotations

import io
from typing import Any

from slipway.drift.run_report import RunReport


def history_rows(report: RunReport) -> list[dict[str, Any]]:
    """Return a row for each finding; a run without findings gives one row with its status alone."""
    run = {
        "service": report.service,
        "release_id": report.release_id,
        "model_version": report.model_version,
        "since": report.since,
        "until": report.until,
        "status": report.status.value,
        "window_rows": report.rows,
    }
    empty = dict.fromkeys(("column", "statistic", "value", "lower_bound", "tolerance", "p_adjusted", "verdict"))
    findings = [{name: getattr(each, name) for name in empty} for each in report.findings]
    return [{**run, **found} for found in findings or [empty]]


def history_file(report: RunReport) -> bytes:
    """Return the run's rows as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    time = pa.timestamp("us", tz="UTC")
    schema = pa.schema(
        [
            ("service", pa.string()),
            ("release_id", pa.string()),
            ("model_version", pa.int64()),
            ("since", time),
            ("until", time),
            ("status", pa.string()),
            ("window_rows", pa.int64()),
            ("column", pa.string()),
            ("statistic", pa.string()),
            ("value", pa.float64()),
            ("lower_bound", pa.float64()),
            ("tolerance", pa.float64()),
            ("p_adjusted", pa.float64()),
            ("verdict", pa.string()),
        ]
    )
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(history_rows(report), schema=schema), sink, compression="zstd")
    return sink.getvalue()
