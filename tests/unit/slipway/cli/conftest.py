"""An Airflow of the tests: a real HTTP server with the paths, statuses and bodies that Airflow 3.3.2 was seen to give.

``airflow_3_3_answers.json`` holds answers recorded from a real one (simple auth manager); the server fills them in.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from typer.testing import CliRunner, Result

from slipway.cli.app import app

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "airflow_3_3_answers.json").read_text())
ERRORS: dict[str, Any] = RECORDED["errors"]
PASSWORDS = {"admin": "admin", "viewer": "viewer", "op": "op"}
REASON = {"reason": {"value": "", "description": None, "schema": {"type": "string"}, "source": "task"}}

Answer = tuple[int, Any]


@dataclass
class FakeAirflow:
    """State and answers. Tests change the state, the command line sees what a real Airflow would say about it."""

    dags: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    questions: list[dict[str, Any]] = field(default_factory=list)
    xcoms: dict[tuple[str, str], Any] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    broken: int | None = None
    ill: list[Literal["refuses", "loses the answer"]] = field(default_factory=list)
    on_look: list[Callable[[], None]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(RECORDED["health"]))
    import_errors: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    # --- state, as tests set it ---

    def add_dag(self, dag_id: str, *, paused: bool = False, tags: tuple[str, ...] = ()) -> None:
        """Add a DAG."""
        tagged = [{"name": tag, "dag_id": dag_id, "dag_display_name": dag_id} for tag in tags]
        self.dags[dag_id] = {**copy.deepcopy(RECORDED["dag"]), "dag_id": dag_id, "is_paused": paused, "tags": tagged}

    def add_run(self, dag_id: str, run_id: str, state: str = "running", **more: Any) -> dict[str, Any]:
        """Add a run."""
        run = {**copy.deepcopy(RECORDED["dag_run"]), "dag_id": dag_id, "dag_run_id": run_id, "state": state, **more}
        self.runs.append(run)
        self.tasks.setdefault(run_id, [])
        return run

    def add_task(self, run_id: str, task_id: str, state: str | None, **more: Any) -> dict[str, Any]:
        """Add a task to a run; like Airflow's default weights, earlier ones weigh more."""
        dag_id = next(run["dag_id"] for run in self.runs if run["dag_run_id"] == run_id)
        known = {"task_id": task_id, "dag_id": dag_id, "dag_run_id": run_id, "state": state}
        weight = 100 - len(self.tasks[run_id])
        task = {**copy.deepcopy(RECORDED["task_instance"]), **known, "priority_weight": weight, **more}
        self.tasks[run_id].append(task)
        return task

    def ask(self, run_id: str, task_id: str = "approve", **more: Any) -> dict[str, Any]:
        """Let a task wait for a person."""
        task = self.add_task(run_id, task_id, "awaiting_input", operator="ReleaseApprovalOperator")
        asked = {"created_at": (datetime.now(UTC) - timedelta(hours=2)).isoformat(), "params": REASON}
        question = {**copy.deepcopy(RECORDED["hitl_detail"]), **asked, "task_instance": task, **more}
        self.questions.append(question)
        return question

    # --- answers ---

    def answer(self, method: str, target: str, body: Any, authorization: str) -> Answer:
        """Return status and body, as Airflow would."""
        parts = urlsplit(target)
        path, query = unquote(parts.path), {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.requests.append((method, path))
        if self.broken:
            return self.broken, {"detail": "Internal Server Error"}
        if (method, path) == ("POST", "/auth/token"):
            return self._log_in(body)
        user = self.tokens.get(authorization.removeprefix("Bearer "))
        if user is None:
            return (403, ERRORS["bad_token"]) if authorization else (401, ERRORS["no_token"])
        for wanted, pattern, reply in ROUTES:
            found = re.fullmatch(pattern, path.removeprefix("/api/v2"))
            if found and method == wanted:
                ill = self.ill.pop(0) if self.ill and method != "GET" else None
                answer = None if ill == "refuses" else reply(self, user, query, body, *found.groups())
                return (500, {"detail": {"reason": "Database error"}}) if ill or answer is None else answer
        return 404, ERRORS["no_route"]

    def _log_in(self, body: Any) -> Answer:
        if PASSWORDS.get(body["username"]) != body["password"]:
            return 401, ERRORS["password"]
        token = f"token-of-{body['username']}-{len(self.tokens)}"
        self.tokens[token] = body["username"]
        return 201, {"access_token": token}

    def get_health(self, user: str, query: dict[str, str], body: Any) -> Answer:
        return 200, self.health

    def list_import_errors(self, user: str, query: dict[str, str], body: Any) -> Answer:
        return 200, {"import_errors": _page(self.import_errors, query), "total_entries": len(self.import_errors)}

    def list_dags(self, user: str, query: dict[str, str], body: Any) -> Answer:
        found = [
            dag
            for dag_id, dag in sorted(self.dags.items())
            if dag_id.startswith(_searched(query))
            and ("tags" not in query or query["tags"] in [tag["name"] for tag in dag["tags"]])
        ]
        return 200, {"dags": _page(found, query), "total_entries": len(found)}

    def get_dag(self, user: str, query: dict[str, str], body: Any, dag_id: str) -> Answer:
        return (200, self.dags[dag_id]) if dag_id in self.dags else (404, ERRORS["no_dag"])

    def patch_dag(self, user: str, query: dict[str, str], body: Any, dag_id: str) -> Answer:
        if user == "viewer":
            return 403, ERRORS["forbidden"]
        self.dags[dag_id] |= body
        return 200, self.dags[dag_id]

    def trigger(self, user: str, query: dict[str, str], body: Any, dag_id: str) -> Answer:
        if dag_id not in self.dags:
            return 404, ERRORS["no_dag_trigger"]
        if user == "viewer":
            return 403, ERRORS["forbidden"]
        if "logical_date" not in body:
            return 422, ERRORS["no_logical_date"]
        conf = body.get("conf", {})
        if conf.get("overrides", {}).get("bad") or len(conf.get("reason", "")) > 500:  # the longest that forms take
            return 400, ERRORS["bad_param"]
        run_id = body.get("dag_run_id") or f"manual__2026-11-21T10:00:{len(self.runs):02}+00:00"
        if any(run["dag_run_id"] == run_id for run in self.runs):
            return 409, ERRORS["duplicate_run"]
        asked = {"conf": body.get("conf", {}), "note": body.get("note"), "triggering_user_name": user}
        return 200, self.add_run(dag_id, run_id, "queued", run_after=datetime.now(UTC).isoformat(), **asked)

    def list_runs(self, user: str, query: dict[str, str], body: Any, dag_id: str) -> Answer:
        if dag_id not in self.dags:
            return 404, ERRORS["no_dag"]
        assert query["order_by"] == "-run_after"
        found = sorted((run for run in self.runs if run["dag_id"] == dag_id), key=lambda run: run["run_after"])
        return 200, {"dag_runs": found[::-1][: int(query["limit"])], "total_entries": len(found)}

    def get_run(self, user: str, query: dict[str, str], body: Any, dag_id: str, run_id: str) -> Answer:
        if self.on_look:
            self.on_look.pop(0)()
        for run in self.runs:
            if (run["dag_id"], run["dag_run_id"]) == (dag_id, run_id):
                return 200, run
        return 404, ERRORS["no_run"]

    def list_tasks(self, user: str, query: dict[str, str], body: Any, dag_id: str, run_id: str) -> Answer:
        if run_id not in self.tasks:
            return 404, ERRORS["no_run"]
        found = sorted(self.tasks[run_id], key=lambda task: task["task_id"])
        return 200, {"task_instances": _page(found, query), "total_entries": len(found)}

    def get_xcom(
        self, user: str, query: dict[str, str], body: Any, dag_id: str, run: str, task: str, key: str
    ) -> Answer:
        if (task, key) not in self.xcoms:
            return 404, ERRORS["no_xcom"]
        return 200, {**RECORDED["xcom"], "task_id": task, "key": key, "value": self.xcoms[task, key]}

    def get_log(
        self, user: str, query: dict[str, str], body: Any, dag_id: str, run: str, task: str, number: str
    ) -> Answer:
        known = any(each["task_id"] == task and each["state"] == "failed" for each in self.tasks[run])
        return (200, RECORDED["log"]) if known and number == "1" else (404, ERRORS["no_log"])

    def list_questions(self, user: str, query: dict[str, str], body: Any) -> Answer:
        found = [
            each
            for each in self.questions
            if each["task_instance"]["dag_id"].startswith(_searched(query))
            and each["task_instance"]["state"] == query.get("state", each["task_instance"]["state"])
            and str(each["response_received"]).lower() == query.get("response_received", "false")
        ]
        return 200, {"hitl_details": _page(found, query), "total_entries": len(found)}

    def reply(
        self, user: str, query: dict[str, str], body: Any, dag_id: str, run: str, task: str, index: str
    ) -> Answer:
        asked = [
            q
            for q in self.questions
            if (q["task_instance"]["dag_run_id"], q["task_instance"]["task_id"]) == (run, task)
        ]
        question = asked[0]
        if question["response_received"]:
            return 409, ERRORS["answered"]
        if question["assigned_users"] and user not in [each["id"] for each in question["assigned_users"]]:
            return 403, ERRORS["not_respondent"]
        if set(body["chosen_options"]) - set(question["options"]):
            return 400, ERRORS["bad_option"]
        question["response_received"] = True
        question["task_instance"]["state"] = "success" if body["chosen_options"] == ["Approve"] else "failed"
        self.answers.append({"user": user, "dag_run_id": run, "map_index": index, **body})
        return 200, {**RECORDED["hitl_answer"], **body}


def _searched(query: dict[str, str]) -> str:
    """What Airflow searches for: it cuts what is no letter or digit off the end of a prefix."""
    return re.sub(r"[^A-Za-z0-9]+$", "", query.get("dag_id_prefix_pattern", ""))


def _page(found: list[Any], query: dict[str, str]) -> list[Any]:
    offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 50)), 100)
    return found[offset : offset + limit]


_RUN = r"/dags/([^/]+)/dagRuns/([^/]+)"
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/monitor/health", FakeAirflow.get_health),
    ("GET", r"/importErrors", FakeAirflow.list_import_errors),
    ("GET", r"/dags", FakeAirflow.list_dags),
    ("GET", r"/dags/~/dagRuns/~/hitlDetails", FakeAirflow.list_questions),
    ("GET", r"/dags/([^/]+)", FakeAirflow.get_dag),
    ("PATCH", r"/dags/([^/]+)", FakeAirflow.patch_dag),
    ("POST", r"/dags/([^/]+)/dagRuns", FakeAirflow.trigger),
    ("GET", r"/dags/([^/]+)/dagRuns", FakeAirflow.list_runs),
    ("GET", _RUN, FakeAirflow.get_run),
    ("GET", rf"{_RUN}/taskInstances", FakeAirflow.list_tasks),
    ("GET", rf"{_RUN}/taskInstances/([^/]+)/xcomEntries/([^/]+)", FakeAirflow.get_xcom),
    ("GET", rf"{_RUN}/taskInstances/([^/]+)/logs/(\d+)", FakeAirflow.get_log),
    ("PATCH", rf"{_RUN}/taskInstances/([^/]+)/(-?\d+)/hitlDetails", FakeAirflow.reply),
]


def _handler(fake: FakeAirflow) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = fake.answer(self.command, self.path, body, self.headers.get("Authorization", ""))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 the names that http.server wants

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    return Handler


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAirflow]:
    """Return an Airflow with the DAGs of one service, to which the command line is pointed as its admin."""
    fake = FakeAirflow()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    fake.add_dag("flights.deploy", tags=("slipway", "deploy", "flights"))
    fake.add_dag("flights.promote", tags=("slipway", "promote", "flights"))
    for name in ("TOKEN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"SLIPWAY_AIRFLOW_{name}", raising=False)
    monkeypatch.setenv("SLIPWAY_AIRFLOW_URL", fake.url)
    monkeypatch.setattr("slipway.cli.watch.POLL_SECONDS", 0.01)
    monkeypatch.setattr("slipway.cli.airflow_http.RETRY_PAUSES_SECONDS", (0, 0, 0))
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def slipway() -> Callable[..., Result]:
    """Run the command line with the given words."""

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, list(words), catch_exceptions=False)

    return run
