"""Structured log: one JSON object a line on standard output, where CloudWatch Logs collects it."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    import asyncio

FLUSH_SECONDS = 0.25
FLUSH_BYTES = 16_384


class AccessLog:
    """Collects lines and writes them a few times a second, so that a request costs no system call.

    Parameters
    ----------
    enabled
        When false, ``write`` does nothing.
    worker
        Number of this worker, put into each line.
    """

    def __init__(self, *, enabled: bool, worker: int) -> None:
        self._enabled = enabled
        self._worker = worker
        self._lines: list[bytes] = []
        self._size = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to flush from the event loop."""
        self._loop = loop
        self._tick()

    def _tick(self) -> None:
        self.flush()
        if self._loop is not None:
            self._loop.call_later(FLUSH_SECONDS, self._tick)

    def write(self, method: str, path: str, status: int, seconds: float, **details: object) -> None:
        """Log one request.

        Parameters
        ----------
        method, path, status
            Of the request and its answer.
        seconds
            Time from arrival to answer.
        details
            More fields; values that are empty are left out.
        """
        if not self._enabled:
            return
        line = {"event": "request", "time": round(time.time(), 3), "worker": self._worker, "method": method}
        line |= {"path": path, "status": status, "ms": round(seconds * 1000, 3)}
        line |= {name: value for name, value in details.items() if value}
        encoded = orjson.dumps(line, default=str) + b"\n"
        self._lines.append(encoded)
        self._size += len(encoded)
        if self._size >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is collected."""
        if self._lines:
            data, self._lines, self._size = b"".join(self._lines), [], 0
            _write_all(data)


def _write_all(data: bytes) -> None:
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        return  # nobody reads the log any more; serving goes on


class JsonFormatter(logging.Formatter):
    """Formats log records as the access log does."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, object] = {
            "event": "log",
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return orjson.dumps(line, default=str).decode()


def configure_logging() -> None:
    """Send all log records to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=os.environ.get("SLIPWAY_LOG_LEVEL", "INFO").upper(), handlers=[handler], force=True)
