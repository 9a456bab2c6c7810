"""Chapter ``drift``: months are replayed as traffic; calm ones stay quiet, a real shift is named and answered."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import flights, lake
from demo.display import Step
from demo.errors import ChapterFailedError
from demo.loop import follow_loop, held_back, retrained_champion
from demo.production import payload
from demo.runs import follow, open_airflow
from demo.stage import Stage, expect
from slipway.cli.airflow_api import AirflowApi
from slipway.drift.run_report import RunReport
from slipway.drift.status import Status
from slipway.drift.store import DriftStore
from slipway.spec import ServiceSpec, load_services

TITLE = "Drift: months of real traffic, quiet until something really changed"
TEXT = (
    "April and May of 2013 look like the winter that the model learned from; September flies elsewhere, "
    "and the model is trained again."
)

SERVICE = "flights"
CALM_MONTHS = (4, 5)
SHIFTED_MONTH = 9
SHIFTED_COLUMN = "dest"
_ROWS_PER_CALL = 500
_CALLERS = 4
_CAPTURE_SECONDS = 4.0
_RUN_SECONDS = 240.0


@dataclass(frozen=True)
class Replayed:
    """One month, sent and judged."""

    name: str
    rows: int
    report: RunReport


def play(stage: Stage) -> dict[str, Any]:
    """Replays, monitors, and reads the verdicts back from the artifact bucket."""
    spec = load_services(stage.settings.project).specs[SERVICE]
    airflow = open_airflow(stage.settings)
    store = DriftStore(stage.aws("s3"), stage.artifact_bucket, SERVICE, spec.endpoint_name("prod"))
    cured = retrained_champion(stage, spec)
    if cured:
        return _again(stage, airflow, spec, store, cured)
    calm = [_replay(stage, airflow, spec, store, month) for month in CALM_MONTHS]
    alarms = [each.name for each in calm if each.report.status is Status.DRIFTED]
    expect(not alarms, f"false alarm in {', '.join(alarms)}")
    lake.drop(stage, lake.rows_of(SHIFTED_MONTH), f"2013-{SHIFTED_MONTH:02}.parquet")
    began = datetime.now(UTC)
    shifted = _replay(stage, airflow, spec, store, SHIFTED_MONTH)
    found = shifted.report
    expect(found.status is Status.DRIFTED, f"{shifted.name} is {found.status}, not DRIFTED.")
    expect(found.drifted_columns == (SHIFTED_COLUMN,), f"{found.drifted_columns} drifted, not {SHIFTED_COLUMN} alone.")
    page = _download(stage, store)
    stage.display.page("What the monitor found", f"{found.text()}\n\nThe report: {page}")
    held = held_back(store, spec, began)
    if held:
        stage.display.page("No second retraining", held)
        loop = {"loop_closed": False, "held_back": held}
    else:
        loop = follow_loop(stage, airflow, spec, store, began, SHIFTED_MONTH).summary()
    return {
        "windows": len(calm) + 1,
        "rows": sum(each.rows for each in (*calm, shifted)),
        "calm_alarms": len(alarms),
        "drifted_window": shifted.name,
        "drifted_features": list(found.drifted_columns),
        **loop,
        "report": str(page),
    }


def _again(stage: Stage, airflow: AirflowApi, spec: ServiceSpec, store: DriftStore, version: int) -> dict[str, Any]:
    """A champion that an earlier play trained on the shifted month: that month is calm for it."""
    found = _replay(stage, airflow, spec, store, SHIFTED_MONTH)
    expect(
        found.report.status in {Status.STABLE, Status.INCONCLUSIVE},
        f"{found.name} is {found.report.status} for version {version}, which was trained on it.",
    )
    page = _download(stage, store)
    text = f"Version {version} was trained on {found.name} in an earlier play, so that this month is calm now."
    stage.display.page("Nothing drifts any more", f"{text}\n\nThe report: {page}")
    return {
        "windows": 1,
        "rows": found.rows,
        "calm_alarms": 0,
        "drifted_window": None,
        "drifted_features": [],
        "loop_closed": False,
        "held_back": text,
        "report": str(page),
    }


def _replay(stage: Stage, airflow: AirflowApi, spec: ServiceSpec, store: DriftStore, month: int) -> Replayed:
    """Sends a month to the production endpoint, then has the monitor look at just that traffic."""
    name = f"2013-{month:02}"
    with stage.display.step(f"Replaying {name}, then {SERVICE}.monitor") as step:
        began = datetime.now(UTC)
        rows = flights.months(flights.load_flights(), month, month)[flights.FEATURES]
        _send(stage, spec.endpoint_name("prod"), rows, step.note)
        time.sleep(_CAPTURE_SECONDS)
        report = _judge(airflow, store, began, datetime.now(UTC), step)
        step.note(f"{name}: {report.headline()} ({report.rows:,} rows)")
        expect(report.rows == len(rows), f"{len(rows)} rows were sent in {name}, {report.rows} were captured.")
    return Replayed(name, len(rows), report)


def _send(stage: Stage, endpoint: str, rows: Any, note: Callable[[str], None]) -> None:
    runtime = stage.aws("sagemaker-runtime", max_pool_connections=_CALLERS)
    bodies = [
        json.dumps(payload(rows[start : start + _ROWS_PER_CALL])).encode()
        for start in range(0, len(rows), _ROWS_PER_CALL)
    ]

    def call(body: bytes) -> None:
        runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=body)["Body"].read()

    with ThreadPoolExecutor(_CALLERS) as callers:
        list(callers.map(call, bodies))
    note(f"{len(rows):,} flights answered in {len(bodies)} calls")


def _judge(airflow: AirflowApi, store: DriftStore, began: datetime, ended: datetime, step: Step) -> RunReport:
    window = {"window_from": began.isoformat(), "window_until": ended.isoformat()}
    run = airflow.trigger(f"{SERVICE}.monitor", {"reason": "a month is replayed", "overrides": window})
    follow(airflow, run, step, seconds=_RUN_SECONDS)
    for report in store.runs(10):
        if report.until == ended:
            return report
    raise ChapterFailedError(f"{SERVICE}.monitor left no report of the window until {ended.isoformat()}.")


def _download(stage: Stage, store: DriftStore) -> Path:
    """The report as a file to open in a browser."""
    key = f"drift/{SERVICE}/reports/latest.html"
    body = stage.aws("s3").get_object(Bucket=store.bucket, Key=key)["Body"].read()
    page = stage.settings.state_dir / "drift.html"
    page.write_bytes(gzip.decompress(body))
    return page
