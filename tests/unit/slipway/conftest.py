"""Servers that answer as wanted, and an S3 in memory whose conditional writes are atomic, for concurrent writers.

moto checks the condition and writes in two steps without a lock, so two threads can both pass an ``If-Match``; it
serves the protocol tests (tests/integration), this one the concurrency tests.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("slipway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slipway")


def client_error(code: str, status: int, operation: str) -> ClientError:
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, operation)  # type: ignore[arg-type]


class MemoryS3:
    """The part of an S3 client that documents need: get, conditional put, list.

    ``calls`` journals (operation, key). ``before_put`` and ``after_put`` run around each accepted write, outside
    the lock: tests use them to let another writer in between, or to lose an answer.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.modified: dict[str, datetime] = {}
        self.calls: list[tuple[str, str]] = []
        self.before_put: Callable[[str], None] = lambda key: None
        self.after_put: Callable[[str], None] = lambda key: None
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._lock = threading.Lock()

    @staticmethod
    def etag(body: bytes) -> str:
        return f'"{hashlib.md5(body).hexdigest()}"'

    def writes(self) -> list[str]:
        return [key for operation, key in self.calls if operation == "put"]

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        with self._lock:
            self.calls.append(("get", Key))
            if Key not in self.objects:
                raise client_error("NoSuchKey", 404, "GetObject")
            body = self.objects[Key]
        return {"Body": io.BytesIO(body), "ETag": self.etag(body)}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        ContentType: str,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        self.before_put(Key)
        with self._lock:
            self.calls.append(("put", Key))
            if IfNoneMatch == "*" and Key in self.objects:
                raise client_error("PreconditionFailed", 412, "PutObject")
            if IfMatch is not None and Key not in self.objects:
                raise client_error("NoSuchKey", 404, "PutObject")
            if IfMatch is not None and self.etag(self.objects[Key]) != IfMatch:
                raise client_error("PreconditionFailed", 412, "PutObject")
            self.objects[Key] = Body
            self.modified[Key] = self.now
        self.after_put(Key)
        return {"ETag": self.etag(Body)}

    def get_paginator(self, name: str) -> MemoryS3:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str, StartAfter: str = "") -> Iterator[dict[str, Any]]:  # noqa: N803
        with self._lock:
            self.calls.append(("list", Prefix))
            keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > StartAfter)
        for start in range(0, len(keys), 3):  # small pages: callers must follow them
            page = [{"Key": key, "LastModified": self.modified[key]} for key in keys[start : start + 3]]
            yield {"Contents": page}
        if not keys:
            yield {}

    def pass_time(self, **units: float) -> None:
        self.now += timedelta(**units)


@pytest.fixture
def memory_s3() -> MemoryS3:
    return MemoryS3()


@pytest.fixture(scope="session")
def new_memory_s3() -> type[MemoryS3]:
    """For property tests, which need a fresh store for each example."""
    return MemoryS3


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server in MLflow's place that answers everything with one status and body."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    servers = []

    def serve(status: int, body: bytes) -> MlflowClient:
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}"
        return MlflowClient(url, url)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
