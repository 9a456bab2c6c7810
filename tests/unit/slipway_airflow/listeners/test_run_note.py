"""The note is written into a database with Airflow's own tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from airflow.models import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType
from sqlalchemy.orm import Session

from slipway_airflow.listeners.run_note import WHY_KEY, on_dag_run_failed

DAG, RUN = "flights.promote", "manual__1"
WHY = "Release 3f was rolled back: failed: step_1.judge; the endpoint serves flights-1 again."


def run_of(session: Session, run_id: str = RUN, *, why: str | None = WHY, note: str | None = None) -> DagRun:
    now = datetime.now(UTC)
    run = DagRun(
        DAG, run_id, run_type=DagRunType.MANUAL, state=DagRunState.FAILED, run_after=now, logical_date=now, note=note
    )
    session.add(run)
    session.flush()
    session.add(
        XComModel(dag_run_id=run.id, dag_id=DAG, run_id=run_id, task_id="roll_back", key=WHY_KEY, value=json.dumps(why))
    )
    session.commit()
    return run


def noted(session: Session, run: DagRun) -> str | None:
    on_dag_run_failed(run)
    session.commit()
    session.expire_all()
    return run.note


def test_the_note_says_what_the_teardown_said(session: Session) -> None:
    other = run_of(session, "manual__2", why="another run's")
    run = run_of(session)
    assert noted(session, run) == WHY
    assert other.note is None


def test_a_note_that_is_there_stays_and_nothing_is_said_twice(session: Session) -> None:
    run = run_of(session, note="quarter's end")
    expected = f"quarter's end\n\n{WHY}"
    assert noted(session, run) == expected
    assert noted(session, run) == expected


def test_a_run_without_a_rollback_gets_no_note(session: Session) -> None:
    assert noted(session, run_of(session, why=None)) is None


def test_a_run_outside_a_session_is_left_alone() -> None:
    run = DagRun(DAG, RUN, run_type=DagRunType.MANUAL)
    on_dag_run_failed(run)
    assert run.note is None
