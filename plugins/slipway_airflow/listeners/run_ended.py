"""Who marked a promotion's run as failed, told to the teardown that takes its release back.

A task cannot read Airflow's audit log, which is in its database. The API server can, where the run is marked; it tells
listeners in the same transaction, so that what they leave for the run's tasks is there before its teardown begins.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

#: Task whose XCom holds it: the promotion's first one, which no teardown clears when it starts.
TASK_ID = "record"
_KEY = "ended"
_DAG_SUFFIX = ".promote"
_ONE, _BULK, _ANY_DAG = "patch_dag_run", "bulk_dag_runs", "~"


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    """Leave who marked the run as failed, and when, for its teardown.

    :param dag_run: The run, in the session of the API server, which commits it.
    """
    from airflow.models.xcom import XComModel
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None or not dag_run.dag_id.endswith(_DAG_SUFFIX):
        return
    marked = _marked(session, dag_run)
    if marked is None or dag_run.get_task_instance(TASK_ID, session=session) is None:
        return
    by, at = marked
    XComModel.set(
        _KEY,
        {"by": by, "at": at.isoformat()},
        dag_id=dag_run.dag_id,
        task_id=TASK_ID,
        run_id=dag_run.run_id,
        serialize=False,  # as tasks write theirs: the database holds what is JSON already
        session=session,
    )


def ended_by(context: Context) -> str | None:
    """Return who marked the run as failed since it last began; None when nobody did.

    :param context: The context of one of the run's tasks.
    """
    found = context["ti"].xcom_pull(task_ids=TASK_ID, key=_KEY)
    began = context["dag_run"].start_date
    if not isinstance(found, dict) or (began and datetime.fromisoformat(found["at"]) < began):
        return None
    return str(found["by"])


def _marked(session: Session, dag_run: DagRun) -> tuple[str, datetime] | None:
    """Read the newest entry of the audit log that marks this run: alone, or among others of a list."""
    from airflow.models import Log
    from sqlalchemy import and_, or_, select

    alone = and_(Log.event == _ONE, Log.dag_id == dag_run.dag_id, Log.run_id == dag_run.run_id)
    among_others = and_(
        Log.event == _BULK, Log.dag_id.in_([dag_run.dag_id, _ANY_DAG]), Log.extra.contains(f'"{dag_run.run_id}"')
    )
    query = select(Log.owner, Log.dttm).where(or_(alone, among_others), Log.extra.contains('"failed"'))
    found = session.execute(query.order_by(Log.id.desc()).limit(1)).first()
    return (found.owner, found.dttm) if found else None
