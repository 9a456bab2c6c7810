"""``slipway status``: what a service does now, and what it waits for."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import Approval, Dag, DagRun, TaskInstance
from slipway.cli.endpoints import EndpointsLook, look_at_endpoints
from slipway.cli.output import console
from slipway.cli.services import find_project
from slipway.errors import SlipwayError

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

WATCH_SECONDS = 3.0

_STYLES = {
    "success": "green",
    "running": "cyan",
    "awaiting_input": "yellow",
    "deferred": "cyan",
    "up_for_retry": "yellow",
    "failed": "red",
    "upstream_failed": "red",
    "InService": "green",
    "Failed": "red",
}


@dataclass(frozen=True)
class DagLook:
    """One of a service's DAGs with the run that matters most: the running one, else the latest.

    Args:
        dag: the DAG.
        run: that run, or None when it never ran.
        tasks: the run's tasks in order.
        queued: how many further runs wait for their turn.
        error: why the run failed, when its log tells.
    """

    dag: Dag
    run: DagRun | None
    tasks: tuple[TaskInstance, ...]
    queued: int
    error: str | None


@dataclass(frozen=True)
class ServiceStatus:
    """All that `slipway status` shows."""

    service: str
    dags: tuple[DagLook, ...]
    approvals: tuple[Approval, ...]
    endpoints: EndpointsLook


def gather(api: AirflowApi, service: str, project: Path | None) -> ServiceStatus:
    """Read the status of ``service``.

    Raises:
        UnknownServiceError: Airflow has no DAG of that service.
    """
    dags = api.dags(prefix=f"{service}.")
    if not dags:
        api.dag(f"{service}.deploy")
    try:
        endpoints = look_at_endpoints(service, find_project(project))
    except SlipwayError as error:
        endpoints = EndpointsLook("", (), str(error))
    looks = tuple(_look_at(api, dag) for dag in dags)
    return ServiceStatus(service, looks, tuple(api.pending_approvals(f"{service}.")), endpoints)


def _look_at(api: AirflowApi, dag: Dag) -> DagLook:
    runs = api.dag_runs(dag.dag_id, limit=10)
    run = next((each for each in runs if each.state == "running"), runs[0] if runs else None)
    tasks = tuple(api.task_instances(run.dag_id, run.run_id)) if run else ()
    failed = next((task for task in tasks if task.state == "failed"), None)
    queued = sum(each.state == "queued" and each is not run for each in runs)
    return DagLook(dag, run, tasks, queued, api.task_error(failed) if failed else None)


def show_status(service: str, *, watch: bool, as_json: bool, project: Path | None) -> None:
    """Print the status once, or again and again until interrupted."""
    from rich.live import Live

    api = AirflowApi.from_environment()
    status = gather(api, service, project)
    if as_json:
        typer.echo(json.dumps(asdict(status), default=str, indent=2))
        return
    if not watch:
        console().print(render(status))
        return
    with contextlib.suppress(KeyboardInterrupt), Live(render(status), console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(render(gather(api, service, project)), refresh=True)


def render(status: ServiceStatus) -> Group:
    """Return the status as rich text."""
    from rich.console import Group

    parts = [_endpoint_lines(status.endpoints)]
    parts += [_dag_lines(look) for look in status.dags]
    parts += [_approval_lines(status.service, approval) for approval in status.approvals]
    return Group(*parts)


def _endpoint_lines(look: EndpointsLook) -> Text:
    from rich.text import Text

    text = Text("endpoints", style="bold")
    text.append(f"  {look.place}\n" if look.place else "\n", style="not bold")
    for each in look.endpoints:
        text.append(f"  {each.name:<24} ", style="not bold")
        text.append(f"{each.status:<14}", style=_STYLES.get(each.status, "not bold"))
        text.append(f"{each.champion or each.config or ''}\n", style="not bold")
        for note in (*each.notes, *([each.failure] if each.failure else [])):
            text.append(f"    {note}\n", style="not bold")
    if look.problem:
        text.append(f"  not looked at: {look.problem}\n", style="not bold dim")
    return text


def _dag_lines(look: DagLook) -> Text:
    from rich.text import Text

    text = Text(look.dag.dag_id, style="bold")
    if look.dag.is_paused:
        text.append("  paused", style="yellow")
    if look.run is None:
        text.append("  never ran\n", style="not bold dim")
        return text
    text.append(f"  {look.run.state}", style=_STYLES.get(look.run.state, "not bold"))
    by = f", by {look.run.triggered_by}" if look.run.triggered_by else ""
    queued = f", {look.queued} more queued" if look.queued else ""
    text.append(f"  {_ago(look.run.run_after)}{by}{queued}  {look.run.run_id}\n", style="not bold dim")
    for task in look.tasks:
        name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
        text.append(f"  {name:<24} ", style="not bold")
        state = task.state or "–"
        text.append(f"{state.replace('_', ' '):<16}", style=_STYLES.get(state, "not bold dim"))
        text.append(f"{task.duration_seconds:8.1f} s\n" if task.duration_seconds else "\n", style="not bold dim")
    if look.error:
        text.append(f"  {look.error}\n", style="red not bold")
    return text


def _approval_lines(service: str, approval: Approval) -> Text:
    from rich.text import Text

    text = Text("waits for a person", style="bold yellow")
    text.append(f"  {approval.subject}\n", style="not bold")
    who = ", ".join(approval.approver_ids) or "everybody who may run the DAG"
    text.append(f"  since {_ago(approval.created_at)}; may answer: {who}\n", style="not bold default")
    commands = f"  slipway approve {service}   or   slipway reject {service} --reason …\n"
    text.append(commands, style="not bold default")
    return text


def _ago(moment: datetime) -> str:
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    if seconds < 0:
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
