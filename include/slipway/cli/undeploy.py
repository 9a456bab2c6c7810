"""``slipway undeploy``: what ``<service>.undeploy`` would delete, or has deleted."""

from __future__ import annotations

from typing import Any

import typer

from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import DagRun
from slipway.cli.deploy import follow_to_end

_TASKS = ("prod", "dev", "images")


def undeploy(service: str, stage: str, reason: str, *, delete: bool, images: bool) -> int:
    """Start ``<service>.undeploy``, follow it to its end, print what it says, and return the exit code.

    Args:
        service: name of the service.
        stage: ``dev``, ``prod`` or ``both``.
        reason: why; goes into the ledger.
        delete: whether to delete; else the run only says what it would delete.
        images: whether the images go, too.
    """
    api = AirflowApi.from_environment()
    conf: dict[str, Any] = {"dry_run": not delete, "stage": stage, "archive": not images}
    run = api.trigger(f"{service}.undeploy", conf | ({"reason": reason} if reason else {}))
    typer.echo(f"started {run.dag_id}, run {run.run_id}")
    code = follow_to_end(api, service, run)
    _print(api, run, "deleted" if delete else "would_delete")
    if code == 0 and not delete:
        typer.echo("Nothing was deleted. To do it: the same command with --delete")
    return code


def _print(api: AirflowApi, run: DagRun, key: str) -> None:
    for task in api.task_instances(run.dag_id, run.run_id):
        if task.state != "success" or task.task_id not in _TASKS:
            continue
        said = api.xcom(run.dag_id, run.run_id, task.task_id)
        place = f"repository {said['repository']}, image " if "repository" in said else ""
        for each in said[key]:
            typer.echo(f"  {key.replace('_', ' ')}: {place}{each}")
        for each in said.get("kept", ()):
            typer.echo(f"  kept: {each}")
