"""What Airflow's REST API answers, as far as it is used here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

FINISHED_RUN_STATES = frozenset({"success", "failed"})
FAILED_TASK_STATES = frozenset({"failed", "upstream_failed"})


@dataclass(frozen=True)
class Dag:
    """A DAG that Airflow knows."""

    dag_id: str
    is_paused: bool
    tags: tuple[str, ...]
    has_import_errors: bool
    schedule: str = ""
    next_run: datetime | None = None


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG; ``state`` is queued, running, success or failed."""

    dag_id: str
    run_id: str
    state: str
    run_type: str
    conf: dict[str, Any]
    run_after: datetime
    started_at: datetime | None
    ended_at: datetime | None
    triggered_by: str | None
    note: str | None

    @property
    def finished(self) -> bool:
        """Whether nothing further happens by itself."""
        return self.state in FINISHED_RUN_STATES


@dataclass(frozen=True)
class TaskInstance:
    """One task of a run; ``state`` is None until the scheduler looks at it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    operator: str | None
    priority_weight: int


@dataclass(frozen=True)
class Approval:
    """A question that waits for a person; ``fields`` holds its form's names and present values."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    subject: str
    body: str
    options: tuple[str, ...]
    fields: dict[str, Any]
    approver_ids: tuple[str, ...]
    created_at: datetime


def dag(answer: dict[str, Any]) -> Dag:
    """Read a DAG."""
    tags = tuple(tag["name"] for tag in answer.get("tags", []))
    schedule = answer.get("timetable_summary") or ""
    next_run = _moment(answer.get("next_dagrun_run_after"))
    return Dag(answer["dag_id"], answer["is_paused"], tags, answer["has_import_errors"], schedule, next_run)


def dag_run(answer: dict[str, Any]) -> DagRun:
    """Read a run."""
    return DagRun(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        state=answer["state"],
        run_type=answer["run_type"],
        conf=answer["conf"] or {},
        run_after=datetime.fromisoformat(answer["run_after"]),
        started_at=_moment(answer["start_date"]),
        ended_at=_moment(answer["end_date"]),
        triggered_by=answer["triggering_user_name"],
        note=answer["note"],
    )


def task_instance(answer: dict[str, Any]) -> TaskInstance:
    """Read a task."""
    return TaskInstance(
        dag_id=answer["dag_id"],
        run_id=answer["dag_run_id"],
        task_id=answer["task_id"],
        map_index=answer["map_index"],
        state=answer["state"],
        try_number=answer["try_number"],
        started_at=_moment(answer["start_date"]),
        ended_at=_moment(answer["end_date"]),
        duration_seconds=answer["duration"],
        operator=answer["operator"],
        priority_weight=answer["priority_weight"] or 0,
    )


def approval(answer: dict[str, Any]) -> Approval:
    """Read a question to a person."""
    task = answer["task_instance"]
    return Approval(
        dag_id=task["dag_id"],
        run_id=task["dag_run_id"],
        task_id=task["task_id"],
        map_index=task["map_index"],
        subject=answer["subject"],
        body=answer["body"] or "",
        options=tuple(answer["options"]),
        fields={name: field.get("value") for name, field in answer["params"].items()},
        approver_ids=tuple(user["id"] for user in answer["assigned_users"] or ()),
        created_at=datetime.fromisoformat(answer["created_at"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
