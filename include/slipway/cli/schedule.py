"""``slipway services schedule``: every DAG of every service, what starts it, and its last and next run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import typer
from rich.table import Table

from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import Dag, DagRun
from slipway.cli.output import console

_TAG = "slipway"


@dataclass(frozen=True)
class Scheduled:
    """A DAG with its latest run."""

    dag: Dag
    last: DagRun | None

    def as_document(self) -> dict[str, Any]:
        """The JSON form; times are ISO 8601."""
        service, _, kind = self.dag.dag_id.rpartition(".")
        return {
            "service": service,
            "kind": kind,
            "schedule": self.dag.schedule,
            "paused": self.dag.is_paused,
            "last_run": self.last.run_after.isoformat() if self.last else None,
            "last_state": self.last.state if self.last else None,
            "next_run": self.dag.next_run.isoformat() if self.dag.next_run and not self.dag.is_paused else None,
        }


def show_schedule(service: str | None, as_json: bool) -> None:
    """Print the DAGs of all services, or of one.

    Args:
        service: name of the service; None for all.
        as_json: whether to print JSON.

    Raises:
        UnknownServiceError: Airflow has no such service.
    """
    api = AirflowApi.from_environment()
    if service:
        api.dag(f"{service}.deploy")
    dags = api.dags(prefix=f"{service}." if service else "", tag=_TAG)
    found = [Scheduled(dag, next(iter(api.dag_runs(dag.dag_id)), None)) for dag in dags]
    if as_json:
        typer.echo(json.dumps([each.as_document() for each in found], indent=2))
        return
    console().print(_table(found))


def _table(found: list[Scheduled]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("DAG", "started by", "last run", "", "next run"):
        table.add_column(heading, no_wrap=True)
    for each in found:
        last = each.last
        table.add_row(
            each.dag.dag_id,
            each.dag.schedule or "by hand",
            _shown(last.run_after) if last else "never",
            last.state if last else "",
            "paused" if each.dag.is_paused else _shown(each.dag.next_run) if each.dag.next_run else "–",
        )
    return table


def _shown(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M %Z")
