"""A small HTTP/1.1 client for one loopback server: kept-alive connections and nothing that is not needed.

The standard library's client parses headers with the e-mail package, which alone costs more than a model that
answers in microseconds.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

_READ_BYTES = 256 * 1024
_MAX_HEAD_BYTES = 128 * 1024
_NO_BODY = frozenset({204, 304})


class HttpFailure(OSError):  # noqa: N818  (a failure of the exchange, whatever its cause)
    """The exchange did not come to an answer."""


class AnswerTooLateError(HttpFailure):
    """The server took longer than it may."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Stream:
    """Reads an answer from a socket within a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = bytearray()

    def fill(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise AnswerTooLateError("no answer in time")
        self._connection.settimeout(left)
        try:
            chunk = self._connection.recv(_READ_BYTES)
        except TimeoutError:
            raise AnswerTooLateError("no answer in time") from None
        if not chunk:
            raise HttpFailure("connection closed by the server")
        self._buffer += chunk

    def until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise HttpFailure("the server's headers are too long")
            self.fill()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self.fill()
        found = bytes(self._buffer[:length])
        del self._buffer[:length]
        return found

    def to_end(self) -> bytes:
        with contextlib.suppress(HttpFailure):
            while True:
                self.fill()
        return bytes(self._buffer)


class ConnectionPool:
    """Connections to ``127.0.0.1:port``, for use by many threads.

    Args:
        port: the server's.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[socket.socket] = []
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> int:
        """Exchanges that are under way."""
        return self._busy

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, timeout: float) -> HttpAnswer:
        """One exchange.

        Args:
            method, path, headers, body: the request; length and host are added.
            timeout: seconds for all of it.

        Raises:
            AnswerTooLateError: the server took too long.
            HttpFailure: no connection, or no sensible answer.
        """
        with self._lock:
            self._busy += 1
        try:
            return self._exchange(method, path, headers, body, timeout)
        finally:
            with self._lock:
                self._busy -= 1

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes, timeout: float) -> HttpAnswer:
        deadline = time.monotonic() + timeout
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        message = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
        while True:
            connection, fresh = self._take(timeout)
            try:
                connection.settimeout(timeout)
                connection.sendall(message)
                answer, reusable = _read_answer(_Stream(connection, deadline))
            except AnswerTooLateError:
                connection.close()
                raise
            except (OSError, ValueError) as error:
                connection.close()
                if fresh:
                    raise HttpFailure(str(error)) from error
                continue  # an idle connection that the server had closed meanwhile
            if reusable:
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take(self, timeout: float) -> tuple[socket.socket, bool]:
        with contextlib.suppress(IndexError):
            return self._idle.pop(), False
        try:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout)
        except OSError as error:
            raise HttpFailure(str(error)) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection, True


def _read_answer(stream: _Stream) -> tuple[HttpAnswer, bool]:
    """The answer, and whether the connection can be used again."""
    while True:
        head = stream.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status_text, *_ = head[0].split(" ", 2)
        status = int(status_text)
        if status >= 200:
            break
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    keep = headers.get("connection", "").lower() != "close" and version == "HTTP/1.1"
    if status in _NO_BODY:
        return HttpAnswer(status, headers, b""), keep
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return HttpAnswer(status, headers, _read_chunks(stream)), keep
    if "content-length" in headers:
        return HttpAnswer(status, headers, stream.exactly(int(headers["content-length"]))), keep
    return HttpAnswer(status, headers, stream.to_end()), False


def _read_chunks(stream: _Stream) -> bytes:
    parts = []
    while length := int(stream.until(b"\r\n").split(b";")[0], 16):
        parts.append(stream.exactly(length))
        stream.exactly(2)
    while stream.until(b"\r\n"):
        pass
    return b"".join(parts)
