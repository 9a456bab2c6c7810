"""The WSGI application: who answers a request, under which lock, and what the journal says about it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from slipway_localaws.aws_protocol import Call, Environ, error_code, name_call, render_error
from slipway_localaws.faults import FaultRule, Faults
from slipway_localaws.journal import Journal
from slipway_localaws.patching import MOTO_LOCK

log = logging.getLogger(__name__)
StartResponse = Callable[..., Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]
MotoAnswer = tuple[str, list[tuple[str, str]], bytes | Iterable[bytes]]
_BAD_REQUEST = 400
_STREAMED_BYTES = 256 * 1024


class Notified(Protocol):
    """Is told of every change that a request may have made."""

    def __call__(self, service: str) -> None:
        """The state of ``service`` may have changed."""


class Front:
    """Routes requests to the admin pages, the image registry, the invocations or moto.

    Args:
        moto: moto's own WSGI application.
        registry, runtime, admin: the other parts, each a WSGI application that journals for itself.
        journal: where moto's requests are recorded.
        faults: what tests want to go wrong.
        on_change: called after each mutating request with the service's name.
    """

    def __init__(
        self,
        *,
        moto: WsgiApplication,
        registry: WsgiApplication,
        runtime: WsgiApplication,
        admin: WsgiApplication,
        journal: Journal,
        faults: Faults,
        on_change: Notified,
    ) -> None:
        self._moto = moto
        self._registry = registry
        self._runtime = runtime
        self._admin = admin
        self._journal = journal
        self._faults = faults
        self._on_change = on_change

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path: str = environ["PATH_INFO"]
        if path.startswith("/endpoints/") and "invocations" in path.rpartition("/")[2]:
            return self._runtime(environ, start_response)
        if path.startswith("/_localaws/"):
            return self._admin(environ, start_response)
        if (path.startswith("/v2/") or path == "/v2") and "AWS4-HMAC" not in environ.get("HTTP_AUTHORIZATION", ""):
            return self._registry(environ, start_response)
        if path.startswith("/moto-api"):
            return _refuse_moto_api(start_response)
        return self._aws(environ, start_response)

    def _aws(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["RAW_URI"] = environ.get("REQUEST_URI", environ["PATH_INFO"])
        call = name_call(environ)
        size = int(environ.get("CONTENT_LENGTH") or 0)
        fault = self._request_fault(call)
        body: bytes | Iterable[bytes]
        if fault and fault.effect != "drop":
            status, headers, body = _fault_answer(call, fault)
        else:
            status, headers, body = self._call_moto(environ, call)
            if call.mutating:
                self._on_change(call.service)
            if fault:
                status, headers, body = _fault_answer(call, fault)
        code = int(status[:3])
        error = error_code(headers, body) if code >= _BAD_REQUEST and isinstance(body, bytes) else ""
        self._journal.record(call, code, size, error=error)
        start_response(status, headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return [body] if isinstance(body, bytes) else body

    def _request_fault(self, call: Call) -> FaultRule | None:
        if not self._faults:
            return None
        subject = {"service": call.service, "action": call.action, "resource": call.resource}
        if slow := self._faults.hit(("latency",), **subject):
            time.sleep(slow.latency_ms / 1000)
        return self._faults.hit(("error", "throttle", "down", "drop"), **subject)

    def _call_moto(self, environ: Environ, call: Call) -> MotoAnswer:
        """What moto answers; a large body as an iterable that no longer needs the lock."""
        answer: dict[str, Any] = {}

        def keep(status: str, headers: Sequence[tuple[str, str]], *_: Any) -> None:
            answer["status"], answer["headers"] = status, list(headers)

        try:
            with MOTO_LOCK:
                chunks = self._moto(environ, keep)
                body: bytes | Iterable[bytes] = chunks
                if call.action != "GetObject" or _length(answer["headers"]) < _STREAMED_BYTES:
                    body = b"".join(chunks)
        except NotImplementedError as error:
            message = str(error) or f"{call.action} is not modelled"
            return _error(call, "NotImplemented", message, "501 Not Implemented")
        except Exception as error:  # noqa: BLE001  (whatever moto trips over becomes the 500 that AWS would send)
            log.error("%s %s failed: %s", call.service, call.action, traceback.format_exc())
            return _error(call, "InternalFailure", f"{type(error).__name__}: {error}", "500 Internal Server Error")
        return answer["status"], answer["headers"], body


def _refuse_moto_api(start_response: StartResponse) -> Iterable[bytes]:
    """moto's own control pages would change its state behind the hosting's back."""
    body = b"moto's control API is closed: stop the stand-in and empty its state folder instead"
    start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _length(headers: Sequence[tuple[str, str]]) -> int:
    return next((int(value) for name, value in headers if name.lower() == "content-length"), 0)


def _error(call: Call, code: str, message: str, status: str) -> tuple[str, list[tuple[str, str]], bytes]:
    headers, body = render_error(call.protocol, code, message, int(status[:3]))
    return status, [*headers, ("Content-Length", str(len(body)))], body


def _fault_answer(call: Call, fault: FaultRule) -> tuple[str, list[tuple[str, str]], bytes]:
    if fault.effect == "throttle":
        code = "SlowDown" if call.service == "s3" else "ThrottlingException"
        status = "503 Slow Down" if call.service == "s3" else "400 Bad Request"
        return _error(call, fault.code or code, "Rate exceeded", status)
    if fault.effect == "down":
        return _error(call, fault.code or "ServiceUnavailable", "Service Unavailable", "503 Service Unavailable")
    code = fault.code or ("InternalError" if call.service == "s3" else "InternalFailure")
    return _error(call, code, fault.message, f"{fault.status} Error")
