"""The data plane's HTTP client against servers that behave in all sorts of ways (RFC 9112)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from slipway_localaws.runtime.http_client import AnswerTooLateError, ConnectionPool, HttpFailure

Script = list[bytes | float | None]


@pytest.fixture
def serve() -> Iterator[Callable[..., ConnectionPool]]:
    """Starts a server that plays one script per connection: bytes are sent, floats slept, None closes the connection.

    A script's parts that follow a request are played after the next blank line has been received.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[int] = []

    def start(*scripts: Script) -> ConnectionPool:
        def run() -> None:
            for script in scripts:
                connection, _ = listener.accept()
                accepted.append(1)
                with connection:
                    for part in script:
                        if part is None:
                            break
                        if isinstance(part, float):
                            time.sleep(part)
                            continue
                        _read_request(connection)
                        connection.sendall(part)
                    else:
                        _read_request(connection)

        threading.Thread(target=run, daemon=True).start()
        pool = ConnectionPool(listener.getsockname()[1])
        pool.accepted = accepted  # type: ignore[attr-defined]
        return pool

    yield start
    listener.close()


def _read_request(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return
        received += chunk


def ask(pool: ConnectionPool, timeout: float = 2.0) -> tuple[int, bytes]:
    answer = pool.request("POST", "/invocations", {"Content-Type": "text/csv"}, b"", timeout=timeout)
    return answer.status, answer.body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Thing: yes\r\n\r\nok"


def test_a_connection_is_used_again(serve: Callable[..., ConnectionPool]) -> None:
    pool = serve([OK, OK, OK])
    assert [ask(pool) for _ in range(3)] == [(200, b"ok")] * 3
    assert len(pool.accepted) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n", (200, b"abcde")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", (201, b"")),
        (b"HTTP/1.1 500 Oh No\r\ncontent-length: 4\r\n\r\nfail", (500, b"fail")),
    ],
)  # fmt: skip
def test_forms_of_answers(serve: Callable[..., ConnectionPool], answer: bytes, expected: tuple[int, bytes]) -> None:
    pool = serve([answer, OK])
    assert ask(pool) == expected
    assert ask(pool) == (200, b"ok"), "the connection is still in step"


def test_an_answer_that_ends_with_the_connection(serve: Callable[..., ConnectionPool]) -> None:
    pool = serve([b"HTTP/1.0 200 OK\r\n\r\nall of it", None], [OK])
    assert ask(pool) == (200, b"all of it")
    assert ask(pool) == (200, b"ok")


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(serve: Callable[..., ConnectionPool]) -> None:
    pool = serve([OK, None], [OK])
    assert ask(pool) == (200, b"ok")
    time.sleep(0.1)
    assert ask(pool) == (200, b"ok")


def test_connection_close_is_honoured(serve: Callable[..., ConnectionPool]) -> None:
    pool = serve([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", None], [OK])
    assert ask(pool) == ask(pool) == (200, b"ok")
    assert len(pool.accepted) == 2  # type: ignore[attr-defined]


def test_too_late(serve: Callable[..., ConnectionPool]) -> None:
    pool = serve([1.0, OK])
    with pytest.raises(AnswerTooLateError):
        ask(pool, timeout=0.2)


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
def test_what_is_no_answer(serve: Callable[..., ConnectionPool], answer: bytes) -> None:
    with pytest.raises(HttpFailure):
        ask(serve([answer, None]), timeout=1.0)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HttpFailure):
        ask(ConnectionPool(port))
