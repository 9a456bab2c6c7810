"""The tasks of ``<service>.retrain`` against the AWS stand-in and a real MLflow server: done once, whatever happens."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import socketserver
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import PermanentError, TransientError
from slipway.spec import ServiceSpec

from .kills import Killed, run_with_kills
from .retraining import LAKE, Retraining, make_rows, retrain_section

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def retraining(service, platform, mlflow_server) -> Retraining:
    section = retrain_section(service.spec.name)
    spec = ServiceSpec.model_validate({**service.spec.model_dump(exclude_defaults=True), "retrain": section})
    s3 = service.aws.client("s3")
    if LAKE not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return Retraining(spec, platform, s3, mlflow_server.client)


@pytest.fixture
def with_champion(retraining) -> Retraining:
    retraining.register_champion()
    retraining.put("january.parquet", make_rows(500))
    return retraining


def test_new_rows_become_a_candidate_with_its_lineage(with_champion, aws):
    with_champion.put("dirty.parquet", make_rows(50, start="2026-02-01").assign(late=np.nan))
    with_champion.run("await_data", "validate_data")
    refit = with_champion.run("refit")
    assert refit["rows"] == {"train": 400, "holdout": 100}
    assert refit["metrics"]["candidate"]["areaUnderROC"] > 0.7
    assert refit["metrics"]["champion"]["areaUnderROC"] > 0.5

    assert with_champion.run("register") == {"version": 2}

    assert with_champion.aliases == {"champion": 1, "candidate": 2}
    tags = with_champion.versions[1].tags
    assert tags["slipway.parent_version"] == "1"
    assert tags["slipway.gate"] == "deploy"
    assert tags["slipway.run_id"] == "manual__1"
    (run,) = with_champion.finished_runs
    assert run.data.params["data_digest"] == tags["slipway.data_digest"]
    assert run.data.metrics["areaUnderROC"] == refit["metrics"]["candidate"]["areaUnderROC"]
    baseline = with_champion.baseline(refit["model_uri"])
    assert baseline.origin == {"rows": 400, "chunks": 2, "source": "training"}
    assert [column.name for column in baseline.schema.columns] == ["colour", "size", "prediction"]
    name = with_champion.spec.name
    assert list(with_champion.watermark.taken) == [f"{name}/january.parquet"]
    assert list(with_champion.watermark.quarantined) == [f"{name}/dirty.parquet"]
    assert with_champion.ledger() == ["data_quarantined", "candidate_registered"]

    # Cleared and run again, each task finds its work done: nothing is written, and there is no second version.
    since = aws.position()
    assert with_champion.run("await_data", "validate_data", "refit", "register") == {"version": 2}
    assert not aws.changes(since)
    assert len(with_champion.versions) == 2
    assert len(with_champion.finished_runs) == 1


@pytest.mark.long
def test_rows_of_a_table_are_trained_on_once_also_those_that_come_late(retraining, tmp_path, monkeypatch):
    database = sqlite3.connect(tmp_path / "rows.db")
    monkeypatch.setenv("AIRFLOW_CONN_ROWS", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "rows.db")}))
    jdbc = {"connection": "rows", "table": "parcels", "watermark_column": "at"}
    section = retrain_section(retraining.spec.name, data={"jdbc": jdbc, "late_within": 7200})
    spec = {**retraining.spec.model_dump(exclude_defaults=True), "retrain": section}
    from_table = replace(retraining, spec=ServiceSpec.model_validate(spec))
    from_table.register_champion()
    rows = make_rows(500)
    late = rows.index == 498  # an hour older than the newest, and committed after it was read
    rows[~late].to_sql("parcels", database, index=False)
    assert from_table.run("await_data", "validate_data")["rows"] == 499
    # The run goes no further, so its rows are not dealt with.
    assert not from_table.watermark.taken
    rows[late].to_sql("parcels", database, index=False, if_exists="append")
    assert from_table.run("await_data", run_id="manual__2") == {"new": 2, "known": 0}
    refit = from_table.run("validate_data", "refit", run_id="manual__2")
    assert refit["rows"] == {"train": 400, "holdout": 100}
    assert from_table.run("register", run_id="manual__2") == {"version": 2}
    assert len(from_table.watermark.taken) == 2
    make_rows(100, start="2026-03-01").to_sql("parcels", database, index=False, if_exists="append")
    assert from_table.run("await_data", run_id="manual__3") == {"new": 1, "known": 2}
    assert from_table.run("validate_data", run_id="manual__3")["rows"] == 100
    database.close()


@pytest.mark.long
def test_what_is_held_is_registered_and_tagged_and_wakes_nothing(with_champion):
    with_champion.run("await_data", "validate_data", "refit", "hold")
    assert with_champion.aliases == {"champion": 1}
    assert with_champion.versions[1].tags["slipway.gate_reason"] == "it is worse"
    assert with_champion.ledger() == ["candidate_held"]
    # The rows have been dealt with: the next run finds nothing new, but trains on them as well.
    assert with_champion.run("await_data", run_id="manual__2") == {"new": 0, "known": 1}


@pytest.mark.long
def test_a_dry_run_leaves_no_trace(with_champion, aws):
    with_champion.run("await_data", "validate_data")
    since = aws.position()
    dry = with_champion.task("refit", evaluate_only=True)
    with pytest.raises(AirflowSkipException, match=r"nothing is registered.*areaUnderROC"):
        dry.execute(with_champion.context("refit"))
    assert not aws.changes(since)
    assert len(with_champion.versions) == 1
    assert not with_champion.finished_runs
    assert not with_champion.watermark.taken


@pytest.mark.long
def test_killed_after_each_write_there_is_one_version_and_no_row_twice(with_champion, mlflow_server, monkeypatch):
    with_champion.put("dirty.parquet", make_rows(50, start="2026-02-01").assign(late=np.nan))
    kills = {}
    for kind in ("await_data", "validate_data", "refit"):
        kills[kind] = run_with_kills(lambda kind=kind: with_champion.task(kind), with_champion.context(kind))
    assert min(kills.values()) >= 1
    register = killed_after_registry_writes(monkeypatch)
    kills["register"] = run_with_kills(lambda: with_champion.task("register"), with_champion.context("register"))
    assert kills["register"] > len(register) >= 2  # killed in MLflow's calls and after those to S3
    assert len(with_champion.versions) == 2
    assert len(with_champion.finished_runs) == 1
    assert with_champion.aliases == {"champion": 1, "candidate": 2}
    assert len(with_champion.watermark.taken) == len(with_champion.watermark.quarantined) == 1
    assert with_champion.ledger() == ["data_quarantined", "candidate_registered"]


def killed_after_registry_writes(monkeypatch) -> set[str]:
    """The first call of each changing method of MLflow's client goes through, and then the task is killed."""
    from mlflow import MlflowClient

    killed: set[str] = set()
    for name in ("create_model_version", "set_registered_model_alias"):
        whole = getattr(MlflowClient, name)

        def then_killed(self, *arguments: Any, name: str = name, whole: Any = whole, **keywords: Any) -> Any:
            made = whole(self, *arguments, **keywords)
            if name not in killed:
                killed.add(name)
                raise Killed(name)
            return made

        monkeypatch.setattr(MlflowClient, name, then_killed)
    return killed


@pytest.mark.long
def test_a_killed_task_ends_its_trainer_and_the_next_try_gets_through(with_champion):
    with_champion.run("await_data", "validate_data")
    refit, ended = with_champion.task("refit"), []

    def run() -> None:
        try:
            refit.execute(with_champion.context("refit"))
        except TransientError as error:
            ended.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 60
    while (refit._process is None or refit._process._child is None) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = refit._process._child.pid
    time.sleep(1)
    refit.on_kill()
    thread.join(30)
    # SIGTERM has the trainer end its whole process group by SIGKILL, itself included.
    assert re.match(r"The trainer was killed by signal (9|15) without a word", ended[0])
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert not with_champion.finished_runs
    assert with_champion.run("refit")["rows"]["train"] == 400
    assert len(with_champion.finished_runs) == 1


BAD = {
    "column gone": (lambda: make_rows(200).drop(columns="size"), "lacks 'size'"),
    "type changed": (lambda: make_rows(200).assign(size="large"), "does not fit the model's type double"),
    "one class": (lambda: make_rows(200).assign(late=1), "one class only"),
    "mixed schemas": (
        lambda: make_rows(200).assign(size=[str(n) for n in range(200)]),
        "column 'size' is double in .*january.parquet and string in .*other.parquet",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_cannot_be_trained_on_fail_with_their_reason_and_register_nothing(retraining, case):
    retraining.register_champion()
    make, message = BAD[case]
    if case == "mixed schemas":
        retraining.put("january.parquet", make_rows(200))
    retraining.put("other.parquet", make())
    retraining.run("await_data", "validate_data")
    with pytest.raises(PermanentError, match=message):
        retraining.run("refit")
    assert_nothing_happened(retraining)


UNFIT = {
    "empty.parquet": (lambda: make_rows(0), "has no rows"),
    "no-target.parquet": (lambda: make_rows(9).assign(late=np.nan), "9 rows have no 'late'"),
    "half.parquet": (lambda: b"PAR1 and then the network was gone", "half-written"),
    "semicolon.csv": (lambda: make_rows(9).to_csv(sep=";", index=False).encode(), "another delimiter than the comma"),
    "report.xlsx": (lambda: b"PK", "says no format"),
}


def test_objects_that_are_not_fit_are_set_aside_each_with_its_reason_and_the_champion_stays(retraining):
    retraining.register_champion()
    for name, (make, _) in UNFIT.items():
        retraining.put(name, make())
    retraining.run("await_data")
    with pytest.raises(AirflowSkipException, match="the champion stays"):
        retraining.run("validate_data")
    for _, reason in UNFIT.values():
        assert reason in retraining.reasons()
    assert len(retraining.watermark.quarantined) == len(UNFIT)
    assert len(retraining.versions) == 1


def test_an_object_that_is_overwritten_meanwhile_is_left_to_the_next_run(with_champion):
    with_champion.put("february.parquet", make_rows(100, start="2026-02-01"))
    with_champion.run("await_data")
    with_champion.put("february.parquet", make_rows(120, start="2026-02-01"))
    found = with_champion.run("validate_data")
    assert (found["passed"], found["quarantined"]) == (1, 0)
    assert with_champion.run("refit")["rows"] == {"train": 400, "holdout": 100}
    with_champion.run("register")
    assert not with_champion.watermark.quarantined
    assert with_champion.run("await_data", run_id="manual__2") == {"new": 1, "known": 1}
    assert with_champion.run("validate_data", run_id="manual__2")["rows"] == 120


def test_without_champion_the_first_training_needs_a_template(retraining):
    retraining.put("january.parquet", make_rows(200))
    retraining.run("await_data", "validate_data")
    with pytest.raises(PermanentError, match="has no champion to retrain from"):
        retraining.run("refit")
    assert not retraining.versions


def test_a_template_makes_the_first_version_which_may_deploy_only_without_a_champion_to_beat(
    retraining, tmp_path, monkeypatch
):
    (tmp_path / "retrainers").mkdir()
    (tmp_path / "retrainers" / "own.py").write_text(
        "from sklearn.compose import make_column_transformer\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def make():\n"
        "    return make_pipeline(make_column_transformer(('passthrough', ['size'])), LogisticRegression())\n"
    )
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    retrain = retraining.spec.retrain.model_copy(update={"template": "own.py:make"})
    retraining.spec = retraining.spec.model_copy(update={"retrain": retrain})
    retraining.put("january.parquet", make_rows(200))
    found = retraining.run("await_data", "validate_data", "refit")
    assert found["champion_version"] is None
    assert found["metrics"]["champion"] == {}
    assert retraining.run("register") == {"version": 1}
    assert retraining.aliases == {"candidate": 1}


def test_an_empty_window_says_so(with_champion):
    with_champion.run("await_data", "validate_data")
    with pytest.raises(PermanentError, match="has 0 rows; there are rows from 2026-01-01"):
        with_champion.run("refit", overrides={"since": "2027-01-01T00:00:00+00:00"})
    assert_nothing_happened(with_champion)


@pytest.mark.long
def test_mlflow_that_goes_down_in_mid_run_leaves_nothing_half_registered(with_champion, mlflow_server, monkeypatch):
    with_champion.run("await_data", "validate_data")
    with failing_after(mlflow_server.url, "/logged-models") as url:
        place = urlsplit(url)
        connection = {"conn_type": "http", "schema": "http", "host": place.hostname, "port": place.port}
        with monkeypatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(connection))
            with pytest.raises(TransientError, match="MLflow does not answer; cannot log the training"):
                with_champion.run("refit")
    assert_nothing_happened(with_champion)
    assert with_champion.run("refit", "register") == {"version": 2}
    assert len(with_champion.finished_runs) == 1


def assert_nothing_happened(retraining: Retraining) -> None:
    assert len(retraining.versions) == 1
    assert not retraining.finished_runs
    assert not retraining.watermark.taken
    assert retraining.aliases == {"champion": 1}


@contextmanager
def failing_after(url: str, path: str) -> Iterator[str]:
    """An address that passes requests on until one posts to ``path``; from then on it hangs up on everybody."""
    place, down = urlsplit(url), threading.Event()

    class Passer(http.server.BaseHTTPRequestHandler):
        def _pass(self) -> None:
            if self.command == "POST" and self.path.endswith(path):
                down.set()
            if down.is_set():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection(str(place.hostname), int(place.port or 80), timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815  # the names that http.server calls

        def log_message(self, *arguments: Any) -> None:
            """Silent."""

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Passer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
