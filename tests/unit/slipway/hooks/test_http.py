"""Hooks by HTTP, asked over a real connection."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from slipway.errors import HookFailedError, HookUnavailableError
from slipway.hooks.exchange import HookAnswer
from slipway.hooks.http import MAX_ANSWER_BYTES, ask_http
from tests.unit.slipway.hooks.test_exchange import QUESTION


@dataclass
class Receiver:
    """Somebody's server: answers what the test says and keeps what it was asked."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    asked: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    here = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here.asked.append((dict(self.headers), json.loads(body)))
            time.sleep(here.delay_seconds)
            self.send_response(here.status)
            for name, value in here.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(here.body)))
            self.end_headers()
            self.wfile.write(here.body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    here.url = f"http://127.0.0.1:{server.server_port}/check"
    yield here
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Callable[..., HookAnswer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def send(**more: Any) -> HookAnswer:
        return ask_http(receiver.url, QUESTION, **{"timeout_seconds": 5, "key": "dag/run_1/task", **more})

    return send


def test_it_is_told_where_the_promotion_stands_under_a_key_that_stays(
    receiver: Receiver, ask: Callable[..., HookAnswer]
) -> None:
    assert ask(headers={"X-Team": "ml"}, auth=("ann", "secret")) == HookAnswer(True)
    ((headers, question),) = receiver.asked
    assert question == QUESTION.to_dict()
    assert (headers["Idempotency-Key"], headers["X-Team"]) == ("dag/run_1/task", "ml")
    assert headers["Authorization"].startswith("Basic ")


def test_a_no_comes_with_its_reason(receiver: Receiver, ask: Callable[..., HookAnswer]) -> None:
    receiver.body = b'{"allow": false, "reason": "freeze until Monday"}'
    assert ask() == HookAnswer(False, "freeze until Monday")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_who_cannot_answer_now_is_asked_again(receiver: Receiver, ask: Callable[..., HookAnswer], status: int) -> None:
    receiver.status, receiver.body = status, b'{"allow": true}'
    with pytest.raises(HookUnavailableError, match=str(status)):
        ask()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404])
def test_any_other_status_is_a_failure(receiver: Receiver, ask: Callable[..., HookAnswer], status: int) -> None:
    receiver.status, receiver.body = status, b'{"allow": true}'
    receiver.headers = {"Location": receiver.url}
    with pytest.raises(HookFailedError, match=f"answered {status}"):
        ask()
    assert len(receiver.asked) == 1, "a redirect is not followed"


@pytest.mark.parametrize("body", [b"OK", b"true", b"null", b"[]", b'{"allow": 1}', b"\xff", b"[" * 100_000])
def test_an_answer_that_nobody_understands_is_a_failure(
    receiver: Receiver, ask: Callable[..., HookAnswer], body: bytes
) -> None:
    receiver.body = body
    with pytest.raises(HookFailedError):
        ask()


def test_an_endless_answer_is_not_read(receiver: Receiver, ask: Callable[..., HookAnswer]) -> None:
    receiver.body = b'{"allow": true, "reason": "' + b"x" * MAX_ANSWER_BYTES + b'"}'
    with pytest.raises(HookFailedError, match="more than 64 KiB"):
        ask()


def test_silence_and_a_closed_door_are_unavailable(receiver: Receiver, ask: Callable[..., HookAnswer]) -> None:
    receiver.delay_seconds = 1.0
    with pytest.raises(HookUnavailableError, match="ReadTimeout"):
        ask(timeout_seconds=0.1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(HookUnavailableError, match="ConnectionError"):
        ask_http(f"http://127.0.0.1:{port}/x?token=s3cret", QUESTION, timeout_seconds=1, key="k")


def test_what_may_be_secret_in_the_address_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(HookUnavailableError) as caught:
        ask_http("http://127.0.0.1:1/x?token=s3cret", QUESTION, timeout_seconds=1, key="k")
    assert "s3cret" not in str(caught.value)
