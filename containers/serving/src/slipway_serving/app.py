"""The HTTP side of one worker: SageMaker's routes on granian's RSGI interface."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson
from granian.rsgi import ProtocolClosed, ProtocolError  # type: ignore[attr-defined]

from slipway_serving.board import prometheus
from slipway_serving.message import JSON, Request, Response
from slipway_serving.patience import Patience
from slipway_serving.problem import problem
from slipway_serving.scoring import MAX_STUCK_THREADS, ScoringQueue, answer_safely

if TYPE_CHECKING:
    from slipway_serving.accesslog import AccessLog
    from slipway_serving.board import Board, Row
    from slipway_serving.engines import Engine
    from slipway_serving.selftest import SelfTest
    from slipway_serving.settings import Settings

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
MAX_CUSTOM_ATTRIBUTES = 1024
BODY_TIMEOUT_SECONDS = 30.0
SAGEMAKER_MAX_CONCURRENT_PAYLOAD_MB = 100

_METHODS = {
    "/invocations": "POST",
    "/ping": "GET",
    "/health": "GET",
    "/version": "GET",
    "/execution-parameters": "GET",
    "/metrics": "GET",
}


class App:
    """One worker's application.

    Parameters
    ----------
    settings, engine, board, row, access_log
        Parts that the worker made.
    self_test
        What the self-test found; a failed one keeps ``/ping`` at 503.
    """

    def __init__(
        self, settings: Settings, engine: Engine, self_test: SelfTest, board: Board, row: Row, access_log: AccessLog
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._self_test = self_test
        self._board = board
        self._row = row
        self._log = access_log
        self._patience = Patience(BODY_TIMEOUT_SECONDS)
        self._queue = ScoringQueue(engine.answer, settings.queue_limit, settings.timeout_seconds, row.set)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start what needs the event loop."""
        self._log.start(loop)
        self._patience.start(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write what is left of the log."""
        self._log.flush()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Answer one HTTP request."""
        started = time.perf_counter()
        path, method = scope.path, scope.method
        if path == "/invocations" and method == "POST":
            response = await self._invoke(scope, protocol)
        else:
            response = self._answer_simple(path, method)
        headers = [("content-type", response.content_type), *response.headers]
        if self._board.draining:
            headers.append(("connection", "close"))
        protocol.response_bytes(response.status, headers, response.body)
        seconds = time.perf_counter() - started
        if path == "/invocations":
            self._row.observe(response.status, seconds)
        if path != "/ping" or response.status != 200:
            self._log.write(method, path, response.status, seconds, bytes_out=len(response.body))

    async def _invoke(self, scope: Any, protocol: Any) -> Response:
        headers = scope.headers
        if not self._self_test.passed:
            return problem(503, "TEMPORARILY_UNAVAILABLE", f"The model failed its self-test: {self._self_test.reason}")
        body = await self._read_body(headers.get("content-length"), protocol)
        if isinstance(body, Response):
            return body
        request = Request(body, headers.get("content-type") or JSON, headers.get("accept") or "")
        self._row.count("bytes_in", len(body))
        response = answer_safely(self._engine.answer_at_once, request)
        if response is None:
            response = await self._queue.score(request)
            self._note_queue(response)
        self._row.count("bytes_out", len(response.body))
        attributes = headers.get(CUSTOM_ATTRIBUTES)
        if (
            attributes
            and len(attributes) <= MAX_CUSTOM_ATTRIBUTES
            and attributes.isascii()
            and attributes.isprintable()
        ):
            response.headers.append((CUSTOM_ATTRIBUTES, attributes))
        return response

    def _note_queue(self, response: Response) -> None:
        self._row.set("fallbacks", self._engine.fallbacks)
        if response.status == 503:
            self._row.count("refused_queue_full")
        elif response.status == 504:
            self._row.count("timed_out")

    async def _read_body(self, declared: str | None, protocol: Any) -> bytes | Response:
        """Return the body, or the refusal of one that is too long or too slow."""
        limit = self._settings.max_body_bytes
        is_known = declared is not None and declared.isdecimal()
        if is_known and int(declared or 0) > limit:
            return _too_large(limit)
        try:
            body: bytes | Response = await self._patience.wait_for(
                protocol() if is_known else _collect(protocol, limit)
            )
            return body
        except TimeoutError:
            return problem(408, "BAD_REQUEST", f"The body did not arrive within {BODY_TIMEOUT_SECONDS:g} s")
        except (ProtocolError, ProtocolClosed):
            return problem(
                400, "BAD_REQUEST", "The body ended before its announced length, or its chunks are malformed"
            )

    def _answer_simple(self, path: str, method: str) -> Response:
        wanted = _METHODS.get(path)
        if wanted is None:
            return problem(404, "ENDPOINT_NOT_FOUND", f"There is no {path}; this server has {', '.join(_METHODS)}")
        if method != wanted and not (method == "HEAD" and wanted == "GET"):
            response = problem(405, "BAD_REQUEST", f"{path} takes {wanted}, not {method}")
            response.headers.append(("allow", wanted))
            return response
        if path == "/metrics":
            return prometheus(self._board, self._engine.name)
        if path == "/execution-parameters":
            return self._execution_parameters()
        if path == "/version":
            return Response(200, _mlflow_version().encode())
        return self._ping()

    def _ping(self) -> Response:
        if not self._self_test.passed:
            return problem(503, "TEMPORARILY_UNAVAILABLE", f"The model failed its self-test: {self._self_test.reason}")
        if self._board.draining:
            return problem(503, "TEMPORARILY_UNAVAILABLE", "The server is about to stop")
        stuck = self._board.largest("stuck_threads")
        if stuck >= MAX_STUCK_THREADS:
            return problem(503, "TEMPORARILY_UNAVAILABLE", f"{stuck:g} predictions of one worker do not end")
        return Response(200, b"{}")

    def _execution_parameters(self) -> Response:
        """Answer SageMaker's batch transform: concurrency × payload must stay within 100 MB."""
        workers = self._settings.workers
        payload = min(self._settings.max_body_bytes // (1024 * 1024), SAGEMAKER_MAX_CONCURRENT_PAYLOAD_MB // workers)
        parameters = {
            "MaxConcurrentTransforms": workers,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": max(1, payload),
        }
        return Response(200, orjson.dumps(parameters))


async def _collect(protocol: Any, limit: int) -> bytes | Response:
    parts: list[bytes] = []
    size = 0
    async for part in protocol:
        size += len(part)
        if size > limit:
            return _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def _too_large(limit: int) -> Response:
    response = problem(413, "BAD_REQUEST", f"The body is larger than {limit} bytes")
    response.headers.append(("connection", "close"))
    return response


def _mlflow_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in ("mlflow", "mlflow-skinny"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "none"
