"""Why a promotion was taken back, as the note of its DAG run.

A task cannot write its run's note, which is in Airflow's database. The scheduler can, and tells listeners when a run
ends. A run that somebody marked as failed goes on until its teardown has ended, so its end, too, is seen there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun
    from sqlalchemy.orm import Session

#: XCom key under which a teardown says why it undid something.
WHY_KEY = "undone_because"


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    """Append what the run's teardown said to the run's note.

    :param dag_run: The run, in the session of the scheduler, which commits it.
    """
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None or not (why := _why(session, dag_run)):
        return
    if why not in (dag_run.note or ""):  # a run whose tasks were cleared ends again
        dag_run.note = f"{dag_run.note}\n\n{why}" if dag_run.note else why


def _why(session: Session, dag_run: DagRun) -> str | None:
    from airflow.models.xcom import XComModel

    query = XComModel.get_many(key=WHY_KEY, dag_ids=dag_run.dag_id, run_id=dag_run.run_id, limit=1)
    found = session.scalars(query).first()
    return XComModel.deserialize_value(found) if found else None
