"""Drift of a running service: what the monitor found, and traffic that drifts on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slipway.aws_errors import aws_call
from slipway.cli.drift import shift_rows
from slipway.cli.services import find_project
from slipway.drift.capture import CaptureCounts, read_captures
from slipway.drift.change_point import ChangePoint
from slipway.drift.history import change_text, changes_of
from slipway.drift.run_report import RunReport, baseline_text, blind_text
from slipway.drift.store import DriftStore
from slipway.errors import InvalidInputError, UnknownServiceError
from slipway.platform import load_platform
from slipway.spec import ServiceSpec, load_services
from slipway.state import Serving, StateStore

if TYPE_CHECKING:
    import boto3

_ROWS_PER_CALL = 100
_HISTORY_RUNS = 200
_LOOK_BACK = timedelta(days=30)


def show_drift(service: str, project: Path | None, as_json: bool) -> int:
    """Print the verdicts of the monitor's latest run.

    Returns:
        Exit code: 0, or 1 when the service has drifted.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    _, _, store, _ = _open(service, project)
    keys = store.run_keys(1)
    if not keys:
        raise InvalidInputError(f"The monitor has not looked at {service} yet: unpause {service}.monitor in Airflow.")
    report = store.run(keys[0])
    if as_json:
        typer.echo(report.model_dump_json())
    else:
        _print(report, changes_of(list(store.runs(_HISTORY_RUNS))))
        quality = store.quality(report.until)
        if quality is not None:
            typer.echo(quality.headline())
    return int(report.status == "DRIFTED")


def simulate_drift(service: str, feature: str, shift: float, rows: int, project: Path | None) -> None:
    """Send real, shifted requests to the production endpoint.

    The rows are those that it received last, so that everything but the feature is as in real traffic.

    Args:
        service: The service.
        feature: The feature that shall drift.
        shift: Standard deviations; of a text feature the share of rows that gets a new value.
        rows: How many rows to send.
        project: Project folder, or None.

    Raises:
        SlipwayError: AWS does not answer or refuses, or nothing was captured yet.
    """
    session, _, store, champion = _open(service, project)
    if champion is None:
        raise InvalidInputError(f"{service} has no champion: there is no endpoint to send to.")
    source = _captured_rows(store, champion, rows)
    wanted = shift_rows([source[index % len(source)] for index in range(rows)], feature, shift)
    runtime = session.client("sagemaker-runtime")
    for start in range(0, len(wanted), _ROWS_PER_CALL):
        part = wanted[start : start + _ROWS_PER_CALL]
        split = {"columns": list(part[0]), "data": [list(row.values()) for row in part]}
        body = json.dumps({"dataframe_split": split}, default=str).encode()
        with aws_call(f"invoke {store.endpoint}"):
            runtime.invoke_endpoint(EndpointName=store.endpoint, ContentType="application/json", Body=body)
    typer.echo(f"Sent {rows:,} rows with a shifted {feature} to {store.endpoint}. Now trigger {service}.monitor.")


def _captured_rows(store: DriftStore, champion: Serving, limit: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    reference = store.kept_reference(champion.release_id)
    found = store.captures([champion.release_id, "main"], max(champion.since, now - _LOOK_BACK), now)
    if reference is None or not found:
        raise InvalidInputError(
            f"{store.endpoint} has captured nothing that the monitor has looked at: send it some requests and trigger "
            f"{store.service}.monitor, whose rows are then shifted."
        )
    names = [column.name for column in reference.schema.inputs]
    rows: list[dict[str, Any]] = []
    for each in reversed(found):
        with store.open_capture(each) as stream:
            for batch in read_captures(stream, reference.schema, CaptureCounts()):
                rows += batch.rows.select([name for name in names if name in batch.rows.schema.names]).to_pylist()
        if len(rows) >= limit:
            break
    return rows[:limit]


def _open(service: str, project: Path | None) -> tuple[boto3.Session, ServiceSpec, DriftStore, Serving | None]:
    import boto3

    folder = find_project(project)
    specs = load_services(folder).specs
    if service not in specs:
        raise UnknownServiceError(
            f"There is no service {service!r} in {folder}; there are: {', '.join(specs) or 'none'}."
        )
    session = boto3.Session()
    if session.get_credentials() is None or session.region_name is None:
        raise InvalidInputError("No AWS credentials or region here; set AWS_PROFILE, or AWS_REGION and keys.")
    with aws_call("find out the AWS account"):
        account = session.client("sts").get_caller_identity()["Account"]
    bucket = load_platform(folder).bucket_name(account, str(session.region_name))
    endpoint = specs[service].endpoint_name("prod")
    state, _ = StateStore(session.client("s3"), bucket).read(endpoint)
    store = DriftStore(session.client("s3"), bucket, service, endpoint)
    return session, specs[service], store, state.champion if state else None


def _print(report: RunReport, changes: Mapping[str, Sequence[ChangePoint]]) -> None:
    typer.echo(f"{report.status}  {report.headline()}")
    typer.echo(f"{report.since:%Y-%m-%d %H:%M} to {report.until:%Y-%m-%d %H:%M} UTC, release {report.release_id}")
    for each in sorted(report.findings, key=lambda each: (each.verdict != "DRIFTED", -each.value)):
        typer.echo(f"  {each.verdict:<13}{each.column:<24}{each.statistic:<20}{each.value:.4f}")
    if report.unjudged:
        typer.echo(f"Not judged, because the baseline has too few rows: {baseline_text(report.unjudged)}")
    if report.blind:
        typer.echo(blind_text(report.blind))
    if changes:
        typer.echo("Changes of level:")
    for column, found in changes.items():
        for change in found:
            typer.echo(f"  {change_text(column, change)}")
