"""A run followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import DagRun, TaskInstance
from slipway.errors import AirflowUnavailableError

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 120.0
"""How long Airflow may be away, as in a restart, before following it is given up."""


@dataclass(frozen=True)
class Look:
    """A run and its tasks at one moment."""

    run: DagRun
    tasks: tuple[TaskInstance, ...]

    def task(self, task_id: str) -> TaskInstance | None:
        """Return the (unmapped) task ``task_id``, or None."""
        return next((task for task in self.tasks if task.task_id == task_id and task.map_index == -1), None)

    def in_state(self, *states: str) -> list[TaskInstance]:
        """Return the tasks in one of ``states``."""
        return [task for task in self.tasks if task.state in states]


def follow(
    api: AirflowApi,
    dag_id: str,
    run_id: str,
    *,
    poll_seconds: float | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Look]:
    """Yield a look at the run whenever something about it changed; the last one is finished.

    Args:
        api: the Airflow.
        dag_id, run_id: the run.
        poll_seconds: time between looks; POLL_SECONDS when None.
        patience_seconds: longest time that Airflow may be away.
        sleep: waits; replaced in tests.

    Raises:
        AirflowUnavailableError: Airflow was away for longer than ``patience_seconds``.
    """
    seen: Look | None = None
    last_answer = time.monotonic()
    while True:
        try:
            look = Look(api.dag_run(dag_id, run_id), tuple(api.task_instances(dag_id, run_id)))
            last_answer = time.monotonic()
        except AirflowUnavailableError:
            if time.monotonic() - last_answer > patience_seconds:
                raise
        else:
            if look != seen:
                yield look
            seen = look
            if look.run.finished:
                return
        sleep(POLL_SECONDS if poll_seconds is None else poll_seconds)
