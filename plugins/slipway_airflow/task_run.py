"""Who runs what, as the ledger wants to know it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk.api.datamodels._generated import DagRunType

if TYPE_CHECKING:
    from airflow.sdk import Context


@dataclass(frozen=True)
class TaskRun:
    """The task that is running, and on whose behalf.

    :param dag_id: Its DAG.
    :param run_id: Its DAG run.
    :param task_id: The task.
    :param user: Who triggered the run; for runs that no person triggered, what did (``asset``,
        ``schedule`` …).
    :param reason: What the person wrote in the form's field ``reason``.
    """

    dag_id: str
    run_id: str
    task_id: str
    user: str
    reason: str

    @classmethod
    def of(cls, context: Context) -> TaskRun:
        """Read it from Airflow's task context.

        :param context: The context that ``execute`` is given.
        """
        task_instance, dag_run = context["ti"], context["dag_run"]
        return cls(
            dag_id=task_instance.dag_id,
            run_id=task_instance.run_id,
            task_id=task_instance.task_id,
            user=dag_run.triggering_user_name or DagRunType(dag_run.run_type).value.removesuffix("_triggered"),
            reason=str(context["params"].get("reason") or ""),
        )

    @property
    def holder(self) -> str:
        """Name under which this run takes a lease: the same for each task and each try of the run."""
        return f"{self.dag_id}/{self.run_id}"
