"""Airflow's REST API (version 2, Airflow 3.3) in a small client: trigger, watch, read, answer."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from slipway.cli import airflow_records as records
from slipway.cli.airflow_http import AirflowHttp
from slipway.cli.airflow_records import Approval, Dag, DagRun, TaskInstance
from slipway.cli.settings import AirflowSettings, airflow_settings
from slipway.errors import AirflowRequestError, InvalidParamsError, UnknownServiceError

SETTLE_SECONDS = 3.0
"""Youngest age of a question that is answered: an answer within about a second of the question can fail its task."""


class AirflowApi:
    """One Airflow, spoken to as one user.

    Every method raises AirflowUnavailableError when Airflow does not answer, AccessDeniedError when it refuses the
    user, and AirflowRequestError when there is no such run or task.

    Args:
        settings: address and identity.
        timeout_seconds: longest wait for one answer.
        sleep: waits; replaced in tests.
    """

    def __init__(
        self, settings: AirflowSettings, *, timeout_seconds: float = 30, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.settings = settings
        self._http = AirflowHttp(settings, timeout_seconds=timeout_seconds, sleep=sleep)
        self._sleep = sleep

    @classmethod
    def from_environment(cls) -> AirflowApi:
        """Return the client that the ``SLIPWAY_AIRFLOW_*`` variables describe."""
        return cls(airflow_settings(os.environ))

    def dags(self, *, prefix: str = "", tag: str = "") -> list[Dag]:
        """Return the DAGs whose id begins with ``prefix`` and that carry ``tag``, without those that are gone."""
        # Airflow cuts what is no letter or digit off a prefix: for "flights." it also finds "flights-spark.deploy".
        filters = {"dag_id_prefix_pattern": prefix, "tags": tag}
        found = self._http.pages("/dags", "dags", {k: v for k, v in filters.items() if v})
        return [dag for dag in map(records.dag, found) if dag.dag_id.startswith(prefix)]

    def dag(self, dag_id: str) -> Dag:
        """Return one DAG; UnknownServiceError lists the services when there is none."""
        answer = self._http.send("GET", f"/dags/{quote(dag_id, safe='')}", accept=(404,))
        if answer is None:
            raise self._unknown(dag_id)
        return records.dag(answer)

    def health(self) -> dict[str, str | None]:
        """Return the status of each part of Airflow: ``healthy``, ``unhealthy``, or None of one that never ran."""
        answer = self._http.send("GET", "/monitor/health")
        return {part: each.get("status") for part, each in answer.items() if isinstance(each, dict)}

    def import_errors(self) -> list[tuple[str, str]]:
        """Return the DAG files that Airflow cannot read, each with the error."""
        found = self._http.pages("/importErrors", "import_errors", {})
        return [(str(each["filename"]), str(each["stack_trace"])) for each in found]

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause a DAG or let it run."""
        path = f"/dags/{quote(dag_id, safe='')}"
        self._http.send("PATCH", path, repeatable=True, json={"is_paused": paused})

    def dag_runs(self, dag_id: str, *, limit: int = 1) -> list[DagRun]:
        """Return the latest runs, newest first."""
        query = {"order_by": "-run_after", "limit": limit}
        return [records.dag_run(each) for each in self._http.send("GET", _runs(dag_id), params=query)["dag_runs"]]

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return one run."""
        return records.dag_run(self._http.send("GET", _run(dag_id, run_id)))

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return a run's tasks, in the order in which they come in the DAG as far as Airflow's weights tell."""
        found = self._http.pages(f"{_run(dag_id, run_id)}/taskInstances", "task_instances", {})
        tasks = [records.task_instance(each) for each in found]
        # By Airflow's default rule a task's weight counts the tasks after it: the first of a chain weighs most.
        return sorted(tasks, key=lambda task: (-task.priority_weight, task.task_id, task.map_index))

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task left under ``key``, or None."""
        path = f"{_task(dag_id, run_id, task_id)}/xcomEntries/{quote(key, safe='')}"
        answer = self._http.send("GET", path, params={"map_index": map_index}, accept=(404,))
        return None if answer is None else answer["value"]

    def log_entries(self, task: TaskInstance, try_number: int | None = None) -> list[dict[str, Any]]:
        """Return a try's log as Airflow keeps it: mappings of ``event``, ``level``, ``error_detail`` and more."""
        path = f"{_task(task.dag_id, task.run_id, task.task_id)}/logs/{try_number or task.try_number}"
        query = {"full_content": "true", "map_index": task.map_index}
        answer = self._http.send("GET", path, params=query, accept=(404,))
        content = answer["content"] if answer else []
        return [entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content]

    def task_log(self, task: TaskInstance, try_number: int | None = None) -> str:
        """Return a try's log as text."""
        return "\n".join(_log_line(entry) for entry in self.log_entries(task, try_number))

    def task_error(self, task: TaskInstance) -> str | None:
        """Return ``ErrorClass: message`` of a failed task's last try, or None when its log tells none."""
        for entry in reversed(self.log_entries(task)):
            if entry.get("error_detail"):
                return _error_text(entry["error_detail"][0])  # its causes follow
        return None

    def trigger(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        *,
        note: str | None = None,
        run_id: str | None = None,
        to_unpause: str = "in Airflow's UI",
    ) -> DagRun:
        """Start a run.

        Args:
            dag_id: the DAG.
            conf: the values of its form.
            note: a remark on the run.
            run_id: the run's id; one like Airflow's own is made when it is None.
            to_unpause: how a person unpauses the DAG, for the message.

        Raises:
            UnknownServiceError: no such DAG; the message lists the services.
            InvalidParamsError: a value that the form does not take.
            AirflowRequestError: the DAG is paused, where a run would wait for ever; there is a run of that id.
        """
        if self.dag(dag_id).is_paused:
            raise AirflowRequestError(f"{dag_id} is paused, so a run would wait for ever; unpause it {to_unpause}")
        # An id that nobody else can have: a request whose answer was lost is sent again and starts no second run.
        own_id = run_id or f"manual__{datetime.now(UTC).isoformat()}_{secrets.token_hex(4)}"
        wanted = {"conf": conf or {}, "note": note, "dag_run_id": own_id}
        body = {"logical_date": None, **{key: value for key, value in wanted.items() if value is not None}}
        answer = self._http.send("POST", _runs(dag_id), repeatable=run_id is None, json=body, accept=(409,))
        if answer is not None:
            return records.dag_run(answer)
        if run_id is None:
            return self.dag_run(dag_id, own_id)
        raise AirflowRequestError(f"{dag_id} has a run {run_id} already; choose another id")

    def pending_approvals(self, prefix: str = "") -> list[Approval]:
        """Return the questions that wait for a person, of DAGs whose id begins with ``prefix``, oldest first."""
        query = {"state": "awaiting_input", "response_received": "false", "order_by": "created_at"}
        if prefix:
            query["dag_id_prefix_pattern"] = prefix
        found = self._http.pages("/dags/~/dagRuns/~/hitlDetails", "hitl_details", query)
        return [approval for approval in map(records.approval, found) if approval.dag_id.startswith(prefix)]

    def answer_approval(self, approval: Approval, option: str, fields: dict[str, Any] | None = None) -> None:
        """Answer a question.

        Args:
            approval: the question.
            option: one of its options.
            fields: values for its form; those that are not given keep what the form shows.

        Raises:
            InvalidParamsError: no such option or field. Airflow itself would take a wrong field and fail the task.
            AccessDeniedError: the user is not among the approvers.
            AirflowRequestError: it is answered already.
        """
        unknown = sorted(set(fields or {}) - set(approval.fields))
        if unknown or option not in approval.options:
            wrong = f"field {unknown[0]!r}" if unknown else f"option {option!r}"
            accepted = ", ".join(approval.fields if unknown else approval.options) or "none"
            raise InvalidParamsError(f"{approval.task_id} of {approval.dag_id} has no {wrong}; accepted: {accepted}")
        age = datetime.now(UTC) - approval.created_at
        if timedelta(0) <= age < timedelta(seconds=SETTLE_SECONDS):
            self._sleep(SETTLE_SECONDS - age.total_seconds())
        path = f"{_task(approval.dag_id, approval.run_id, approval.task_id)}/{approval.map_index}/hitlDetails"
        body = {"chosen_options": [option], "params_input": {**approval.fields, **(fields or {})}}
        if self._http.send("PATCH", path, json=body, accept=(409,)) is None:
            raise AirflowRequestError(
                f"{approval.task_id} of {approval.dag_id} run {approval.run_id} is answered already"
            )

    def _unknown(self, dag_id: str) -> UnknownServiceError:
        service, _, kind = dag_id.rpartition(".")
        ids = [each.dag_id for each in self.dags(tag=kind)]
        known = sorted(each.removesuffix(f".{kind}") for each in ids if each.endswith(f".{kind}"))
        return UnknownServiceError(
            f"Airflow has no DAG {dag_id}, so no service {service!r} (or its file is not valid, or not read yet); "
            f"services: {', '.join(known) or 'none'}"
        )


def _runs(dag_id: str) -> str:
    return f"/dags/{quote(dag_id, safe='')}/dagRuns"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_runs(dag_id)}/{quote(run_id, safe='')}"


def _task(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}"


def _log_line(entry: dict[str, Any]) -> str:
    moment = f"{str(entry['timestamp'])[:19]} " if entry.get("timestamp") else ""
    lines = [f"{moment}{entry.get('event', '')}"]
    lines += [_error_text(error) for error in entry.get("error_detail") or []]
    return "\n".join(lines)


def _error_text(error: dict[str, Any]) -> str:
    return f"{error.get('exc_type', 'Error')}: {error.get('exc_value', '')}"
