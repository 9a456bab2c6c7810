from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slipway.errors import AwsUnavailableError, InvalidInputError, PermanentError, TransientError
from slipway.training.remote import Phase, RemoteState, require_reachable_mlflow, see_through

RUNNING, DONE = RemoteState(Phase.RUNNING, "Training"), RemoteState(Phase.SUCCEEDED, "Completed")


class Scripted:
    """A training whose states and lines are written down beforehand."""

    name = "flights-1"

    def __init__(self, starts: list[RemoteState], looks: list[Any], lines: list[Any] | None = None) -> None:
        self._starts, self._looks, self._lines = starts, looks, lines or []

    def start(self) -> RemoteState:
        return self._starts.pop(0)

    def look(self) -> RemoteState:
        found = self._looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def new_lines(self) -> list[str]:
        found = self._lines.pop(0) if self._lines else []
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        raise AssertionError("nobody asked for that")

    def result(self) -> dict[str, Any]:
        return {"run_id": "r1"}


def seen(training: Scripted) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []
    return see_through(training, told.append, pause=lambda _: None), told


def test_it_is_watched_to_its_end_and_its_lines_are_passed_on_once():
    waiting = RemoteState(Phase.PENDING, "Starting")
    result, told = seen(Scripted([waiting], [RUNNING, RUNNING, DONE], [["a"], [], ["b"], ["c"]]))
    assert result == {"run_id": "r1"}
    assert told == [
        "flights-1: pending, Starting",
        "a",
        "flights-1: running, Training",
        "b",
        "flights-1: succeeded, Completed",
        "c",
    ]


def test_one_that_is_done_is_taken_without_a_look():
    assert seen(Scripted([DONE], []))[0] == {"run_id": "r1"}


def test_one_that_is_being_stopped_is_waited_out_before_another_begins():
    stopping = RemoteState(Phase.STOPPING)
    result, told = seen(Scripted([stopping, stopping, RUNNING], [DONE]))
    assert result == {"run_id": "r1"}
    assert told[0] == "flights-1 is being stopped; another training begins after it"


def test_what_it_failed_of_is_raised_after_its_last_lines():
    told: list[str] = []
    failed = RemoteState(Phase.FAILED, "Failed", PermanentError("lacks 'size'"))
    with pytest.raises(PermanentError, match="lacks 'size'"):
        see_through(Scripted([RUNNING], [failed], [[], ["the end"]]), told.append, pause=lambda _: None)
    assert told[-1] == "the end"


def test_looks_and_logs_that_fail_for_a_while_end_nothing():
    down = AwsUnavailableError("AWS does not answer.")
    denied = PermanentError("no right to read logs")
    result, told = seen(Scripted([RUNNING], [down] * 7 + [DONE], [denied, denied, ["a"]]))
    assert result == {"run_id": "r1"}
    assert told.count("AWS does not answer. It is looked at again.") == 7
    assert told.count("Its log cannot be read: no right to read logs") == 1
    assert "a" in told


def test_looks_that_fail_for_long_leave_it_to_the_next_try():
    with pytest.raises(TransientError, match="AWS does not answer"):
        seen(Scripted([RUNNING], [AwsUnavailableError("AWS does not answer.")] * 20))


AWAY = {"has_credentials": False, "secret": None, "aws_endpoint_url": None}


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000", "sqlite:///mlflow.db", "/mlruns"]
)
def test_an_mlflow_that_only_this_machine_reaches_is_refused(uri):
    with pytest.raises(InvalidInputError, match=r"cannot reach MLflow at .*; expected an address such as https"):
        require_reachable_mlflow(uri, **AWAY)
    require_reachable_mlflow(uri, **{**AWAY, "aws_endpoint_url": "http://127.0.0.1:24566"})


def test_credentials_need_a_secret_of_their_own():
    require: Callable[..., None] = require_reachable_mlflow
    with pytest.raises(InvalidInputError, match="name that secret as mlflow_secret"):
        require("https://mlflow.example.com", **{**AWAY, "has_credentials": True})
    require("https://mlflow.example.com", **{**AWAY, "has_credentials": True, "secret": "mlflow"})
    require("https://mlflow.example.com", **AWAY)
