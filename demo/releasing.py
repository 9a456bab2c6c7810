"""Deploying as a data scientist does it, and approving as an approver does it, both over Airflow's REST API."""

from __future__ import annotations

import time
from typing import Any

from demo.display import Step
from demo.errors import ChapterFailedError
from demo.runs import follow, open_airflow
from demo.stage import Stage
from slipway.cli.airflow_api import AirflowApi
from slipway.cli.airflow_records import DagRun
from slipway.errors import UnknownServiceError

DEPLOY_SECONDS = 420.0
_PARSE_SECONDS = 90.0


def deploy_and_approve(stage: Stage, airflow: AirflowApi, service: str, reason: str, step: Step) -> DagRun:
    """Deploys the candidate and says yes to it.

    Args:
        stage: The running stack.
        airflow: Airflow's API.
        service: The service.
        reason: What is written into the form.
        step: Where to show the tasks.

    Returns:
        The deploy's run, ended.
    """
    _reject_waiting(stage, airflow, service)
    return approve_when_asked(stage, airflow, trigger_deploy(airflow, service, reason), step)


def approve_when_asked(stage: Stage, airflow: AirflowApi, run: DagRun, step: Step) -> DagRun:
    """Follows a deploy, says yes when it asks, and returns it ended."""
    waiting = follow(airflow, run, step, seconds=DEPLOY_SECONDS, until_waiting=True)
    if waiting.finished:
        return waiting
    _approve(stage, run, step)
    return follow(airflow, run, step, seconds=DEPLOY_SECONDS)


def woke_promotion(airflow: AirflowApi, run: DagRun) -> bool:
    """Whether a deploy had something to promote: its release was not the champion already."""
    states = {task.task_id: task.state for task in airflow.task_instances(run.dag_id, run.run_id)}
    return states.get("announce") == "success"


def trigger_deploy(airflow: AirflowApi, service: str, reason: str) -> DagRun:
    """Starts the deploy of the candidate."""
    return trigger(airflow, f"{service}.deploy", {"model_version": "candidate", "reason": reason})


def trigger(airflow: AirflowApi, dag_id: str, conf: dict[str, Any]) -> DagRun:
    """Starts a run; waits for the DAG when Airflow has just begun to read it."""
    deadline = time.monotonic() + _PARSE_SECONDS
    while True:
        try:
            return airflow.trigger(dag_id, conf)
        except UnknownServiceError as error:
            if time.monotonic() > deadline:
                raise ChapterFailedError(str(error)) from error
            time.sleep(1)


def _reject_waiting(stage: Stage, airflow: AirflowApi, service: str) -> None:
    """A run that an earlier play left waiting for its approval would keep this one queued: its release is rejected."""
    approver = open_airflow(stage.settings, "approver")
    for approval in approver.pending_approvals(f"{service}.deploy"):
        form = {"reason": "left waiting; the demo is played again"} if "reason" in approval.fields else {}
        approver.answer_approval(approval, "Reject", form)
        deadline = time.monotonic() + _PARSE_SECONDS
        while not airflow.dag_run(approval.dag_id, approval.run_id).finished and time.monotonic() < deadline:
            time.sleep(1)


def _approve(stage: Stage, run: DagRun, step: Step) -> None:
    """Answers as the approver, over REST."""
    approver = open_airflow(stage.settings, "approver")
    for approval in approver.pending_approvals(run.dag_id):
        if approval.run_id == run.run_id:
            step.note(f"the approver reads the report and says yes: {approval.subject}")
            approver.answer_approval(approval, "Approve", {"reason": "the demo's approver has read the report"})
            return
    raise ChapterFailedError(f"{run.dag_id} waits for a person, but nothing is there to answer.")
