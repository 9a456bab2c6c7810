"""Who marked a run is left in a database with Airflow's own tables, as the API server leaves it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from airflow.models import DagRun, Log, TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk.bases.xcom import BaseXCom
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunType
from sqlalchemy import insert
from sqlalchemy.orm import Session

from slipway_airflow.listeners.run_ended import ended_by, on_dag_run_failed

DAG, RUN = "flights.promote", "manual__1"
BEGAN = datetime(2026, 5, 1, tzinfo=UTC)


def run_of(session: Session, *, dag_id: str = DAG, begun: bool = True) -> DagRun:
    run = DagRun(dag_id, RUN, run_type=DagRunType.MANUAL, state=DagRunState.FAILED, run_after=BEGAN, logical_date=BEGAN)
    session.add(run)
    session.flush()
    if begun:
        row = {"dag_id": dag_id, "run_id": RUN, "task_id": "record", "map_index": -1, "dag_version_id": None}
        session.execute(insert(TaskInstance).values(pool="default_pool", pool_slots=1, try_number=1, **row))
    session.commit()
    return run


def marked(session: Session, owner: str, state: str = "failed", run_id: str = RUN) -> None:
    session.add(Log(event="patch_dag_run", owner=owner, dag_id=DAG, run_id=run_id, extra=json.dumps({"state": state})))


def told(session: Session, run: DagRun, *, began: datetime = BEGAN) -> str | None:
    on_dag_run_failed(run)
    session.commit()

    def pull(*, task_ids: str, key: str) -> Any:
        query = XComModel.get_many(key=key, dag_ids=run.dag_id, run_id=RUN, task_ids=task_ids)
        found = session.scalars(query).first()
        return BaseXCom.deserialize_value(found) if found else None  # type: ignore[arg-type]

    task: Any = {"ti": SimpleNamespace(xcom_pull=pull), "dag_run": SimpleNamespace(start_date=began)}
    return ended_by(task)


def test_it_names_who_marked_this_run_as_failed(session: Session) -> None:
    run = run_of(session)
    for owner, state, run_id in (("ann", "failed", RUN), ("bob", "success", RUN), ("eve", "failed", "manual__2")):
        marked(session, owner, state, run_id)
    assert told(session, run) == "ann"


def test_it_names_who_marked_it_among_others_of_a_list(session: Session) -> None:
    run = run_of(session)
    actions = [{"action": "update", "entities": [{"dag_run_id": RUN, "dag_id": DAG, "state": "failed"}]}]
    session.add(Log(event="bulk_dag_runs", owner="ann", dag_id="~", extra=json.dumps({"actions": actions})))
    assert told(session, run) == "ann"


def test_the_last_who_marked_it_counts(session: Session) -> None:
    run = run_of(session)
    marked(session, "ann")
    assert told(session, run) == "ann"
    marked(session, "bob")
    assert told(session, run) == "bob"


def test_who_marked_it_before_its_tasks_were_cleared_does_not_count(session: Session) -> None:
    run = run_of(session)
    marked(session, "ann")
    assert told(session, run, began=datetime.now(UTC) + timedelta(seconds=1)) is None


def test_a_run_that_failed_by_itself_was_ended_by_nobody(session: Session) -> None:
    assert told(session, run_of(session)) is None


def test_a_run_that_has_not_begun_is_left_alone(session: Session) -> None:
    run = run_of(session, begun=False)
    marked(session, "ann")
    assert told(session, run) is None


def test_other_dags_are_left_alone(session: Session) -> None:
    run = run_of(session, dag_id="somebodys.own")
    session.add(
        Log(event="patch_dag_run", owner="ann", dag_id=run.dag_id, run_id=RUN, extra=json.dumps({"state": "failed"}))
    )
    assert told(session, run) is None


def test_what_nobody_here_wrote_is_no_name() -> None:
    context: Any = {"ti": SimpleNamespace(xcom_pull=lambda **_: "?"), "dag_run": SimpleNamespace(start_date=BEGAN)}
    assert ended_by(context) is None


def test_a_run_outside_a_session_is_left_alone() -> None:
    on_dag_run_failed(DagRun(DAG, RUN, run_type=DagRunType.MANUAL))
