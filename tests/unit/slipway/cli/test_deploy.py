from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ConfigDict
from typer.testing import Result

from slipway.cli.deploy import overrides_of
from slipway.errors import InvalidParamsError

if TYPE_CHECKING:
    from .conftest import FakeAirflow

Slipway = Callable[..., Result]


def test_deploy_starts_a_run_with_what_was_asked_for(airflow: FakeAirflow, slipway: Slipway) -> None:
    words = ("--model-version", "7", "--reason", "quarterly", "--set", "instance_count=2", "--set", "relock=true")
    done = slipway("deploy", "flights", *words)
    assert done.exit_code == 0, done.output
    (run,) = airflow.runs
    assert run["dag_id"] == "flights.deploy"
    assert run["conf"] == {
        "model_version": "7",
        "reason": "quarterly",
        "overrides": {"instance_count": 2, "relock": True},
    }
    assert f"{airflow.url}/dags/flights.deploy/runs/{run['dag_run_id']}" in done.stdout


def test_without_options_the_candidate_is_deployed_and_nothing_else_is_sent(
    airflow: FakeAirflow, slipway: Slipway
) -> None:
    assert slipway("deploy", "flights").exit_code == 0
    assert airflow.runs[0]["conf"] == {"model_version": "candidate"}


def test_a_run_behind_another_says_so(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_run("flights.deploy", "earlier", "running")
    assert "it begins when earlier has ended, which is running" in slipway("deploy", "flights").stdout


def test_wait_tells_what_happens_and_succeeds(airflow: FakeAirflow, slipway: Slipway) -> None:
    def begin() -> None:
        run = airflow.runs[0]
        run["state"] = "running"
        airflow.add_task(run["dag_run_id"], "resolve_model", "success")
        airflow.ask(run["dag_run_id"])

    def end() -> None:
        run = airflow.runs[0]
        run["state"] = "success"
        airflow.tasks[run["dag_run_id"]][1]["state"] = "success"

    airflow.on_look = [begin, lambda: None, end]
    done = slipway("deploy", "flights", "--wait")
    assert done.exit_code == 0
    told = [line.strip() for line in done.stdout.splitlines()[2:]]
    assert told == [
        "resolve_model: success",
        "approve: awaiting input",
        "answer with `slipway approve flights` or `slipway reject flights --reason …`",
        "approve: success",
        "flights.deploy succeeded",
    ]


def test_wait_fails_with_the_run_and_says_why(airflow: FakeAirflow, slipway: Slipway) -> None:
    def fail() -> None:
        run = airflow.runs[0]
        run["state"] = "failed"
        airflow.add_task(run["dag_run_id"], "resolve_model", "failed", try_number=1)
        airflow.add_task(run["dag_run_id"], "announce", "upstream_failed")

    airflow.on_look = [fail]
    done = slipway("deploy", "flights", "--wait")
    assert done.exit_code == 1
    assert "error: flights.deploy failed at resolve_model: ValueError: no endpoint" in done.stderr


def test_supersede_rejects_the_release_that_waits_and_no_other(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.deployment")
    for dag_id in ("flights.deploy", "flights.deployment"):
        airflow.add_run(dag_id, f"{dag_id}-run")
        airflow.ask(f"{dag_id}-run")
    done = slipway("deploy", "flights", "--supersede", "--reason", "fix")
    assert done.exit_code == 0, done.output
    (answer,) = airflow.answers
    assert answer["dag_run_id"] == "flights.deploy-run"
    assert answer["chosen_options"] == ["Reject"]
    assert answer["params_input"] == {"reason": "superseded by a newer deployment: fix"}
    assert airflow.runs[-1]["conf"]["overrides"] == {"supersede": True}


def test_a_request_that_airflow_refuses_does_not_cost_the_release_that_waits(
    airflow: FakeAirflow, slipway: Slipway
) -> None:
    airflow.add_run("flights.deploy", "waiting")
    airflow.ask("waiting")
    done = slipway("deploy", "flights", "--supersede", "--reason", "x" * 501)
    assert done.exit_code == 2
    assert "Invalid input for param" in done.stderr
    assert airflow.answers == []


def test_a_paused_dag(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_dag("flights.deploy", paused=True)
    refused = slipway("deploy", "flights")
    assert refused.exit_code == 1
    assert "unpause it in Airflow's UI or with --unpause" in refused.stderr
    assert airflow.runs == []
    assert slipway("deploy", "flights", "--unpause").exit_code == 0
    assert not airflow.dags["flights.deploy"]["is_paused"]
    assert len(airflow.runs) == 1


@pytest.mark.parametrize("command", ["promote", "rollback", "retrain", "undeploy"])
def test_an_option_is_named_only_where_there_is_one(airflow: FakeAirflow, slipway: Slipway, command: str) -> None:
    airflow.add_dag(f"flights.{command}", paused=True)
    refused = slipway(command, "flights")
    assert refused.exit_code == 1
    assert refused.stderr.rstrip().endswith("is paused, so a run would wait for ever; unpause it in Airflow's UI")
    assert airflow.runs == []
    assert "No such option" in slipway(command, "flights", "--unpause").stderr


def test_unknown_services_and_wrong_words_are_the_caller_s_fault(airflow: FakeAirflow, slipway: Slipway) -> None:
    unknown = slipway("deploy", "fligths")
    assert unknown.exit_code == 2
    assert "services: flights" in unknown.stderr
    assert slipway("deploy", "flights", "--set", "instance_count").exit_code == 2
    assert slipway("deploy").exit_code == 2
    assert slipway("deploy", "flights", "--colour").exit_code == 2
    assert slipway("reject", "flights").exit_code == 2
    assert airflow.runs == []


def test_a_service_that_was_just_declared_is_waited_for(
    airflow: FakeAirflow, slipway: Slipway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "platform.yaml").write_text("artifact_bucket: here\n")
    (tmp_path / "services" / "wine.yaml").write_text("name: wine\nmodel: wine-class\nowner: you@example.com\n")
    monkeypatch.chdir(tmp_path)
    reads = threading.Timer(0.3, airflow.add_dag, ("wine.deploy",))
    reads.start()
    done = slipway("deploy", "wine")
    reads.join()
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Airflow has not read wine yet; waiting for it, at most 90 s\nstarted wine.deploy")
    assert [run["dag_id"] for run in airflow.runs] == ["wine.deploy"]
    monkeypatch.setattr("slipway.cli.deploy.READ_SECONDS", 0.1)
    del airflow.dags["wine.deploy"]
    late = slipway("deploy", "wine")
    assert (late.exit_code, "no DAG wine.deploy" in late.output) == (2, True)


def test_errors_are_one_line_without_traceback(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.broken = 500
    done = slipway("deploy", "flights")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: Airflow at http")
    assert len(done.stderr.splitlines()) == 1


def test_approve_and_reject(airflow: FakeAirflow, slipway: Slipway) -> None:
    airflow.add_run("flights.deploy", "one")
    airflow.ask("one", subject="Put release abc of flights into production?")
    done = slipway("approve", "flights", "--reason", "golden rows agree")
    assert done.exit_code == 0, done.output
    assert "approved: Put release abc of flights into production?" in done.stdout
    airflow.add_run("flights.deploy", "two")
    airflow.ask("two")
    assert slipway("reject", "flights", "--reason", "not now").exit_code == 0
    assert [(each["dag_run_id"], each["chosen_options"], each["params_input"]) for each in airflow.answers] == [
        ("one", ["Approve"], {"reason": "golden rows agree"}),
        ("two", ["Reject"], {"reason": "not now"}),
    ]


def test_nothing_waits(airflow: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("approve", "flights")
    assert done.exit_code == 1
    assert "no release of flights waits for approval" in done.stderr
    unknown = slipway("approve", "fligths")
    assert unknown.exit_code == 2
    assert "services: flights" in unknown.stderr


def test_several_wait(airflow: FakeAirflow, slipway: Slipway) -> None:
    for run in ("one", "two"):
        airflow.add_run("flights.deploy", run)
        airflow.ask(run)
    unclear = slipway("approve", "flights")
    assert unclear.exit_code == 2
    assert "say which with --run: one, two" in unclear.stderr
    wrong = slipway("approve", "flights", "--run", "three")
    assert wrong.exit_code == 2
    assert "waiting: one, two" in wrong.stderr
    assert slipway("approve", "flights", "--run", "two").exit_code == 0
    assert [each["dag_run_id"] for each in airflow.answers] == ["two"]


def test_somebody_who_is_no_approver(airflow: FakeAirflow, slipway: Slipway, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow.add_run("flights.deploy", "one")
    airflow.ask("one")
    monkeypatch.setenv("SLIPWAY_AIRFLOW_USERNAME", "op")
    monkeypatch.setenv("SLIPWAY_AIRFLOW_PASSWORD", "op")
    done = slipway("approve", "flights")
    assert done.exit_code == 1
    assert "op may not do this in Airflow: User=op (id=op) is not a respondent" in done.stderr


class Several(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    a: int | None = None
    b: bool = False
    c: str = ""
    d: str = ""
    e: float = 0.0
    f: int | None = 1
    g: dict[str, int | float | str] = {}
    h: list[int] = []


def test_overrides_are_read_as_yaml_reads_them() -> None:
    given = ["a=1", "b=true", "c=ml.m5.large", "d=x=y", " e = 2.5 ", "f="]
    assert overrides_of(given, Several) == {"a": 1, "b": True, "c": "ml.m5.large", "d": "x=y", "e": 2.5, "f": None}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("g={model__C: 1, loss: hinge, l1: 0.5}", {"g": {"model__C": 1, "loss": "hinge", "l1": 0.5}}),
        ('g={"model__C": 1, "loss": "1"}', {"g": {"model__C": 1, "loss": "1"}}),
        ("g={}", {"g": {}}),
        (" h = [1, 2] ", {"h": [1, 2]}),
    ],
)
def test_mappings_and_lists_are_read_too(written: str, meant: dict[str, Any]) -> None:
    assert overrides_of([written], Several) == meant


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["a"], "not KEY=VALUE"),
        (["=1"], "not KEY=VALUE"),
        (["a=1", "a=2"], "comes twice"),
        (["g={model__C: 1"], "--set g: not YAML: .*expected YAML or JSON, as in"),
        (["g={a: 1, a: 2}"], "--set g: the key 'a' comes twice"),
        (["g={a: !!python/name:os.system x}"], "--set g: tags are not allowed"),
        (["g=model__C"], "overrides: g: Input should be a valid dictionary, found 'model__C'"),
        (["a=one"], "overrides: a: Input should be a valid integer, found 'one'"),
        (["aa=1"], "Unknown field in overrides: 'aa'.* Did you mean 'a'"),
    ],
)
def test_wrong_overrides_are_named(wrong: list[str], words: str) -> None:
    with pytest.raises(InvalidParamsError, match=words):
        overrides_of(wrong, Several)


def test_an_override_that_the_run_would_refuse_starts_nothing(airflow: FakeAirflow, slipway: Slipway) -> None:
    done = slipway("deploy", "flights", "--unpause", "--set", "instance_type=m5.large")
    assert done.exit_code == 2
    assert "overrides: instance_type: a SageMaker instance type such as ml.m5.large" in done.stderr
    assert airflow.requests == []
