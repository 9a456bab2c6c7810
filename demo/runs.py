"""Follow a DAG run and show its tasks; answer its approval as a person would."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from demo.display import Step, TaskLine
from demo.errors import ChapterFailedError
from demo.stack import StackSettings
from demo.stack.settings import USERS
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import FAILED_TASK_STATES, DagRun, TaskInstance
from slipway.cli.settings import AirflowSettings

_POLL_SECONDS = 1.0


def open_airflow(settings: StackSettings, user: str = "admin") -> AirflowApi:
    """Airflow's REST API as one of the stack's users."""
    return AirflowApi(AirflowSettings(url=settings.airflow_url, username=user, password=USERS[user]))


def follow(airflow: AirflowApi, run: DagRun, step: Step, *, seconds: float, until_waiting: bool = False) -> DagRun:
    """Shows the tasks of a run until it ends.

    Args:
        airflow: Airflow's API.
        run: The run.
        step: Where to show them.
        seconds: Longest wait.
        until_waiting: Return also when a task waits for a person.

    Returns:
        The run as it is then.

    Raises:
        ChapterFailedError: It failed (the failed task's error is named) or took too long.
    """
    deadline = time.monotonic() + seconds
    while True:
        now, tasks = airflow.dag_run(run.dag_id, run.run_id), airflow.task_instances(run.dag_id, run.run_id)
        step.tasks(task_lines(tasks))
        if now.state == "failed":
            raise ChapterFailedError(f"{run.dag_id} failed: {failure(airflow, tasks)}")
        if now.finished or (until_waiting and any(task.state == "awaiting_input" for task in tasks)):
            return now
        if time.monotonic() > deadline:
            waiting = ", ".join(f"{task.task_id} is {task.state}" for task in tasks if task.state != "success")
            raise ChapterFailedError(f"{run.dag_id} did not end within {seconds:.0f} s: {waiting}.")
        time.sleep(_POLL_SECONDS)


def failure(airflow: AirflowApi, tasks: list[TaskInstance]) -> str:
    """The error of the first failed task of a run, in its own words."""
    for task in tasks:
        if task.state == "failed":
            return f"task {task.task_id}: {airflow.task_error(task) or 'see its log'}"
    return ", ".join(f"{task.task_id} {task.state}" for task in tasks if task.state in FAILED_TASK_STATES) or "no task"


def wait_for_run(airflow: AirflowApi, dag_id: str, *, since: datetime, seconds: float) -> DagRun:
    """Waits for a run that something else starts, for example an asset.

    Args:
        airflow: Airflow's API.
        dag_id: The DAG.
        since: Older runs do not count.
        seconds: Longest wait.

    Raises:
        ChapterFailedError: None began in time.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for run in airflow.dag_runs(dag_id, limit=1):
            if run.run_after >= since:
                return run
        time.sleep(_POLL_SECONDS)
    raise ChapterFailedError(f"nothing woke {dag_id} within {seconds:.0f} s; is it paused?")


def step_seconds(airflow: AirflowApi, run: DagRun) -> dict[str, float]:
    """Seconds that each task of a run took, as Airflow recorded them (an approval's include the person's time)."""
    return {
        task.task_id: round(_seconds(task) or 0.0, 1)
        for task in airflow.task_instances(run.dag_id, run.run_id)
        if task.started_at is not None
    }


def task_lines(tasks: list[TaskInstance]) -> list[TaskLine]:
    """The tasks as the display shows them."""
    return [_line(task) for task in tasks]


def _line(task: TaskInstance) -> TaskLine:
    return TaskLine(task.task_id, task.state or "waiting", _seconds(task))


def _seconds(task: TaskInstance) -> float | None:
    if task.started_at is None:
        return None
    return ((task.ended_at or datetime.now(UTC)) - task.started_at).total_seconds()
