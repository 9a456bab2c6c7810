"""Flags of a promotion, written with plain AWS credentials into the endpoint's state."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from slipway.canary.plan import CanaryPlan
from slipway.canary.progress import StepProgress
from slipway.cli.app import app
from slipway.errors import EndpointBusyError
from slipway.ledger import Ledger, LedgerEntry
from slipway.state import Approval, EndpointState, Promotion, StateStore
from slipway.transition import approve, begin

BUCKET = "slipway-123456789012-us-east-1"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "flights.yaml").write_text(
        "name: flights\nmodel: flights-delay\nowner: ann\nstages:\n"
        "  dev: {instance_type: ml.m5.large}\n  prod: {instance_type: ml.m5.large}\n"
    )
    (tmp_path / "platform.yaml").write_text("artifact_bucket: slipway-{account_id}-{region}\nexecution_role: slipway\n")
    for name, value in {
        "SLIPWAY_PROJECT": str(tmp_path),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def store() -> StateStore:
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket=BUCKET)
    return StateStore(s3, BUCKET)


def promoting(state: EndpointState) -> EndpointState:
    """A canary whose first step is judged."""
    plan = CanaryPlan(
        challenger="b" * 12, champion="a" * 12, weights_pct=(50,), bake_seconds=60, max_hold_seconds=600, alpha=0.05
    )
    promotion = Promotion(
        run_id="r",
        release_id="b" * 12,
        model_version=2,
        strategy="canary",
        begun_at=NOW,
        plan=plan,
        steps=(StepProgress(number=1, weight_pct=50, began_at=NOW),),
    )
    return state.model_copy(update={"promotion": promotion})


def at_once(state: EndpointState) -> EndpointState:
    promotion = Promotion(run_id="r", release_id="b" * 12, model_version=2, strategy="all_at_once", begun_at=NOW)
    return state.model_copy(update={"promotion": promotion})


@mock_aws
@pytest.mark.parametrize(("command", "flag"), [("hold", "hold"), ("abort", "abort"), ("approve-now", "approve_now")])
def test_a_wish_is_in_the_state_with_who_and_why(project: Path, command: str, flag: str) -> None:
    states = store()
    states.update("flights-prod", promoting)
    code, output = run(command, "flights", "--reason", "looks odd")
    assert code == 0, output
    state, _ = states.read("flights-prod")
    assert state is not None
    raised = getattr(state.flags, flag)
    assert raised.reason == "looks odd"
    assert raised.by
    assert "the judge sees it within seconds" in output


@mock_aws
def test_a_wish_that_nothing_would_obey_is_refused_and_an_abort_says_when_it_is_seen(project: Path) -> None:
    states = store()
    states.update("flights-prod", at_once)
    for command, why in (("hold", "all_at_once has no steps"), ("approve-now", "no step that is judged")):
        code, output = run(command, "flights")
        assert (code, why in " ".join(output.split())) == (2, True), output
    code, output = run("abort", "flights")
    assert code == 0
    assert "any other task when it is done" in output
    assert "judge sees" not in output
    state, _ = states.read("flights-prod")
    assert state is not None
    assert (state.flags.hold, state.flags.approve_now) == (None, None)
    assert state.flags.abort is not None


@mock_aws
def test_resume_takes_a_hold_back(project: Path) -> None:
    states = store()
    states.update("flights-prod", promoting)
    assert run("hold", "flights")[0] == 0
    held, _ = states.read("flights-prod")
    assert run("resume", "flights")[0] == 0
    state, _ = states.read("flights-prod")
    assert held is not None
    assert state is not None
    assert state.flags.hold is None
    assert state.promotion is not None
    [hold] = state.promotion.holds
    assert held.holds == (hold.model_copy(update={"ended_at": None}),)
    assert hold.ended_at is not None
    assert hold.ended_at >= hold.began_at


@mock_aws
def test_a_frozen_endpoint_lets_no_promotion_begin_until_it_is_unfrozen(project: Path) -> None:
    states = store()
    approval = Approval(release_id="c" * 12, model_version=3, by="ann", at=NOW, run_id="deploy_3")
    states.update("flights-prod", lambda state: approve(state, approval))
    waiting = Promotion(run_id="r", release_id="c" * 12, model_version=3, strategy="canary", begun_at=NOW)
    code, output = run("freeze", "flights", "--reason", "audit")
    assert code == 0, output
    assert "audit; no promotion begins" in output
    assert "goes on" not in output
    with pytest.raises(EndpointBusyError, match=r"audit.*slipway unfreeze flights`; then `slipway promote flights`"):
        states.update("flights-prod", lambda state: begin(state, waiting, by="asset"))
    code, output = run("unfreeze", "flights")
    assert code == 0, output
    assert f"release {'c' * 12} waits; `slipway promote flights`" in output
    assert states.update("flights-prod", lambda state: begin(state, waiting, by="asset")).promotion == waiting


@mock_aws
def test_freezing_names_who_froze_first_and_leaves_what_is_under_way(project: Path) -> None:
    states = store()
    states.update("flights-prod", promoting)
    assert run("freeze", "flights", "--reason", "audit")[0] == 0
    code, output = run("freeze", "flights", "--reason", "holidays")
    assert code == 0
    assert "audit; no promotion begins" in output
    assert "is on its way and goes on; `slipway abort flights`" in output
    state, _ = states.read("flights-prod")
    assert state is not None
    assert state.promotion is not None
    assert run("freeze", "fligths")[0] == 2


@mock_aws
def test_looks_are_lines_for_people_and_json_for_programs(project: Path) -> None:
    store()
    ledger = Ledger(boto3.client("s3", region_name="us-east-1"), BUCKET)
    detail = {"shown": ["error PASS: 12 of 4,000 = 0.30%"], "comparisons": [{"name": "error", "e_value": 0.01}]}
    for action in ("looked", "shifted"):
        entry = LedgerEntry(action=action, subject="step 1 of flights-prod", user="ann", reason="passed", detail=detail)
        ledger.record("flights", "run_1", "step_1.judge", entry)
    code, output = run("looks", "flights")
    assert code == 0, output
    assert output.splitlines()[0].endswith("step 1 of flights-prod: passed")
    assert output.splitlines()[1:] == ["  error PASS: 12 of 4,000 = 0.30%"]
    [record] = json.loads(run("looks", "flights", "--json")[1])
    assert record["detail"]["comparisons"][0]["e_value"] == 0.01


@mock_aws
def test_without_a_promotion_there_is_nothing_to_abort(project: Path) -> None:
    store()
    code, output = run("abort", "flights")
    assert code == 2
    assert "no promotion under way" in output


@mock_aws
def test_an_unknown_service_is_named_with_those_that_exist(project: Path) -> None:
    code, output = run("hold", "fligths")
    assert code == 2
    assert "flights" in output


def test_without_credentials_the_cure_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    code, output = run("hold", "flights")
    assert code == 1
    assert "AWS_PROFILE" in output
