from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import CanaryFailedError, HookFailedError, HookRefusedError, HookUnavailableError, SupersededError
from slipway.hooks.exchange import HookAnswer
from slipway.platform import Platform
from slipway.spec import HookSpec, ServiceSpec
from slipway.spec.hooks import AFTER
from slipway.state import Flag
from slipway.transition import raise_flag
from slipway_airflow.operators.canary import FINAL
from slipway_airflow.operators.promotion_hook import PromotionHookOperator
from tests.unit.slipway_airflow.operators.canaries import BEGAN, ENDPOINT, begin_canary, ledger_of, promotion_of, states

HOOKS = """
import json, pathlib

def keep(question):
    (pathlib.Path(__file__).parent / "told.json").write_text(json.dumps(question))
    return {"allow": True, "reason": "stock is there"}

def refuse(question):
    return {"allow": False, "reason": "freeze until Monday"}

def broken(question):
    raise KeyError("stock")
"""

Run = Callable[..., Any]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "checks.py").write_text(HOOKS)
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


@pytest.fixture
def ask(project: Path, spec: ServiceSpec, platform: Platform, context: Callable[..., Any]) -> Run:
    """Run the task of one hook."""

    def run(step: int | str = 2, *, try_number: int = 1, **hook: Any) -> Any:
        hook = hook or {"function": "checks.py:keep"}
        asked = HookSpec.model_validate({"name": "stock", **hook})
        operator = PromotionHookOperator(task_id="hook_stock", asked=asked, step=step, spec=spec, platform=platform)
        running = context("step_2.hook_stock")
        running["ti"].try_number, running["ti"].max_tries = try_number, 3
        return operator.execute(running)

    return run


def test_a_yes_lets_the_promotion_go_on_and_is_kept(aws: Callable[[str], Any], ask: Run, project: Path) -> None:
    begin_canary(aws, passed=1)
    assert ask() == {"hook": "stock", "place": "step 2", "reason": "stock is there"}
    told = json.loads((project / "hooks" / "told.json").read_text())
    assert (told["place"], told["weight_pct"], told["next_weight_pct"], told["champion"]) == ("step 2", 5, 50, "a" * 12)
    assert [(step["number"], step["verdict"]) for step in told["steps"]] == [(1, "PASS")]
    (entry,) = ledger_of(aws)
    assert (entry.action, entry.detail) == (
        "hook_allowed",
        {"hook": "stock", "place": "step 2", "said": "stock is there"},
    )
    assert promotion_of(aws).stopped_because is None


def test_a_no_fails_the_task_and_leaves_its_reason_to_the_rollback(aws: Callable[[str], Any], ask: Run) -> None:
    begin_canary(aws, passed=1)
    with pytest.raises(HookRefusedError, match="freeze until Monday"):
        ask(function="checks.py:refuse")
    assert promotion_of(aws).stopped_because == "hook stock said no: freeze until Monday"
    assert [entry.action for entry in ledger_of(aws)] == ["hook_refused"]


@pytest.mark.parametrize("plan", [True, False], ids=["a canary", "a first launch"])
def test_an_abort_is_obeyed_before_the_hook_is_asked_and_after_it_has_said_yes(
    aws: Callable[[str], Any], ask: Run, project: Path, monkeypatch: pytest.MonkeyPatch, plan: bool
) -> None:
    begin_canary(aws, passed=3 if plan else 0, plan=plan)
    aborting = Flag(by="eve", at=BEGAN, reason="wrong notes")

    def abort_meanwhile(*_: Any) -> HookAnswer:
        states(aws).update(ENDPOINT, lambda state: raise_flag(state, "abort", aborting))
        return HookAnswer(allow=True, reason="")

    with monkeypatch.context() as changed:
        changed.setattr("slipway_airflow.operators.promotion_hook.ask_function", abort_meanwhile)
        with pytest.raises(CanaryFailedError, match="aborted by eve: wrong notes"):
            ask(AFTER)
    assert promotion_of(aws).stopped_because == "aborted by eve: wrong notes"
    with pytest.raises(CanaryFailedError, match="aborted by eve"):
        ask(AFTER)
    assert not (project / "hooks" / "told.json").exists(), "the second time it is not asked"


def test_a_hook_that_fails_is_a_no(aws: Callable[[str], Any], ask: Run) -> None:
    begin_canary(aws, passed=1)
    with pytest.raises(HookFailedError, match="KeyError"):
        ask(function="checks.py:broken")
    assert "raised KeyError" in str(promotion_of(aws).stopped_because)


def test_a_hook_that_takes_too_long_is_a_no(aws: Callable[[str], Any], ask: Run, project: Path) -> None:
    begin_canary(aws, passed=1)
    late = "from airflow.sdk.exceptions import AirflowTaskTimeout\ndef late(question):\n    raise AirflowTaskTimeout\n"
    (project / "hooks" / "late.py").write_text(late)
    with pytest.raises(HookFailedError, match="did not answer within 7 seconds"):
        ask(function="late.py:late", timeout_seconds=7)
    assert promotion_of(aws).stopped_because is not None


def test_a_hook_that_is_away_is_asked_again_and_only_the_last_try_is_a_no(aws: Callable[[str], Any], ask: Run) -> None:
    begin_canary(aws, passed=1)
    with pytest.raises(HookUnavailableError):
        ask(url="http://127.0.0.1:1/", timeout_seconds=1)
    assert promotion_of(aws).stopped_because is None
    assert ledger_of(aws) == []
    with pytest.raises(HookUnavailableError):
        ask(url="http://127.0.0.1:1/", timeout_seconds=1, try_number=4)
    assert "did not answer" in str(promotion_of(aws).stopped_because)


@pytest.mark.parametrize(
    ("connection", "asked"),
    [
        ({"host": "checks.example.com", "schema": "http", "port": 8080}, "http://checks.example.com:8080/go"),
        ({"host": "checks.example.com"}, "https://checks.example.com/go"),
        ({"host": "https://checks.example.com/api/"}, "https://checks.example.com/api/go"),
    ],
)
def test_the_address_and_the_credentials_come_from_the_connection(
    aws: Callable[[str], Any], ask: Run, monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], asked: str
) -> None:
    begin_canary(aws, passed=1)
    sent: list[Any] = []

    def post(url: str, **arguments: Any) -> Any:
        sent.append((url, arguments["auth"], arguments["headers"]["X-Token"]))
        raise OSError("no network here")

    monkeypatch.setattr("requests.post", post)
    more = {"conn_type": "http", "login": "ann", "password": "secret", "extra": {"headers": {"X-Token": "t"}}}
    monkeypatch.setenv("AIRFLOW_CONN_CHECKS", json.dumps({**more, **connection}))
    with pytest.raises(HookUnavailableError):
        ask(connection="checks", path="/go")
    assert sent == [(asked, ("ann", "secret"), "t")]


def test_a_connection_without_a_host_is_named(
    aws: Callable[[str], Any], ask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_canary(aws, passed=1)
    monkeypatch.setenv("AIRFLOW_CONN_CHECKS", json.dumps({"conn_type": "http"}))
    with pytest.raises(HookFailedError, match="connection checks has no host"):
        ask(connection="checks")


def test_the_last_step_and_the_end_have_their_shares(aws: Callable[[str], Any], ask: Run, project: Path) -> None:
    begin_canary(aws, passed=2)
    assert ask(FINAL)["place"] == "step 3"
    begin_canary(aws, passed=3)
    assert ask(AFTER)["place"] == "after"
    told = json.loads((project / "hooks" / "told.json").read_text())
    assert (told["weight_pct"], told["next_weight_pct"]) == (100, 100)


def test_a_first_launch_has_no_steps_but_an_end(aws: Callable[[str], Any], ask: Run, project: Path) -> None:
    begin_canary(aws, plan=False)
    for step in (1, FINAL):
        with pytest.raises(AirflowSkipException):
            ask(step)
    assert not (project / "hooks" / "told.json").exists()
    assert ask(AFTER)["place"] == "after"


def test_nobody_is_asked_for_a_promotion_that_has_ended(aws: Callable[[str], Any], ask: Run, project: Path) -> None:
    begin_canary(aws, run_id="another")
    with pytest.raises(SupersededError):
        ask()
    assert not (project / "hooks" / "told.json").exists()
