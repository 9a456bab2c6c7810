"""InvokeEndpoint.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from slipway_localaws.aws_protocol import ACCOUNT, DEFAULT_REGION, Call, Environ, credential_scope
from slipway_localaws.faults import FaultRule, Faults
from slipway_localaws.hosting.container import INVOCATION_SECONDS, Container
from slipway_localaws.hosting.plan import EndpointKey
from slipway_localaws.journal import Journal
from slipway_localaws.runtime.capture import CapturedCall, is_sampled
from slipway_localaws.runtime.http_client import AnswerTooLateError, HttpFailure
from slipway_localaws.runtime.recorder import Measured, Recorder
from slipway_localaws.runtime.routing import Route

StartResponse = Callable[..., Any]
#: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html#limits_sagemaker
MAX_REQUEST_BYTES = 25 * 1024 * 1024
_TOO_LATE = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for "
    "each container in Amazon CloudWatch, resolve the issue, and try again."
)
_MESSAGE_CHARS = 4096


class InvocationError(Exception):
    """An invocation that never reached a model's own answer."""

    def __init__(self, status: int, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.fields = fields


class InvocationApplication:
    """The WSGI application for ``/endpoints/<name>/invocations``.

    Args:
        routes: the live endpoints.
        restoring: endpoints that are on their way back after a restart of the stand-in.
        recorder: takes measurements and captures.
        journal: where requests are recorded.
        faults: what tests want to go wrong.
        account_of: finds the account of an access key.
    """

    def __init__(
        self,
        routes: Mapping[EndpointKey, Route],
        restoring: Collection[EndpointKey],
        recorder: Recorder,
        journal: Journal,
        faults: Faults,
        account_of: Callable[[str], str],
    ) -> None:
        self._routes = routes
        self._restoring = restoring
        self._recorder = recorder
        self._journal = journal
        self._faults = faults
        self._account_of = account_of

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one invocation."""
        started = time.perf_counter()
        _, _, name, operation = environ["PATH_INFO"].split("/", 3)
        access_key, region, _ = credential_scope(environ) or ("", DEFAULT_REGION, "")
        key = EndpointKey(self._account_of(access_key) if access_key else ACCOUNT, region, unquote(name))
        size = int(environ.get("CONTENT_LENGTH") or 0)
        summary: dict[str, Any] = {}
        error = ""
        try:
            if operation != "invocations" or environ["REQUEST_METHOD"] != "POST":
                raise InvocationError(501, "NotImplemented", f"{operation} is not modelled by the stand-in")
            status, headers, body = self._invoke(key, environ, size, started, summary)
        except InvocationError as failure:
            error = failure.code
            body = json.dumps({"Message": str(failure), "message": str(failure), **failure.fields}).encode()
            headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", failure.code)]
            status = failure.status
        self._journal.record(
            Call("sagemaker", "InvokeEndpoint", key.name, region, summary=summary), status, size, error=error
        )
        start_response(f"{status} {'OK' if status == 200 else 'Error'}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _invoke(
        self, key: EndpointKey, environ: Environ, size: int, started: float, summary: dict[str, Any]
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        if size > MAX_REQUEST_BYTES:
            raise InvocationError(413, "ValidationError", f"Request body exceeds {MAX_REQUEST_BYTES} bytes")
        body: bytes = environ["wsgi.input"].read(size) if size else b""
        route = self._routes.get(key)
        if route is None and key in self._restoring:
            raise InvocationError(
                503, "ServiceUnavailable", f"Endpoint {key.name} is being hosted again after a restart."
            )
        if route is None:
            raise InvocationError(400, "ValidationError", f"Endpoint {key.name} of account {key.account} not found.")
        variant = _choose(route, environ)
        summary["variant"] = variant
        fault = self._fault(key, variant)
        container = route.hosts[variant].pick()
        if container is None:
            raise InvocationError(503, "ServiceUnavailable", f"Variant {variant} has no healthy container just now.")
        reached = time.perf_counter()
        status, answer_type, answer, custom = _call_model(container, environ, body, fault)
        done = time.perf_counter()
        now = time.time()
        self._recorder.measure(
            Measured(
                key=key,
                variant=variant,
                status=status or 500,
                model_microseconds=(done - reached) * 1e6,
                overhead_microseconds=(reached - started) * 1e6,
                at=now,
                instances=route.instances.get(variant, 1),
            )
        )
        event_id = str(uuid.uuid4())
        if status != 200:
            raise _model_error(key, status, answer)
        inference_id = environ.get("HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID", "")
        if route.capture and is_sampled(route.capture):
            self._recorder.capture(
                CapturedCall(
                    key, variant, route.capture, event_id, inference_id,
                    environ.get("HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES", ""), now,
                    environ.get("CONTENT_TYPE") or "application/octet-stream", body, answer_type, answer,
                )
            )  # fmt: skip
        headers = [
            ("Content-Type", answer_type),
            ("x-Amzn-Invoked-Production-Variant", variant),
            ("x-amzn-RequestId", event_id),
        ]
        if custom:
            headers.append(("X-Amzn-SageMaker-Custom-Attributes", custom))
        return 200, headers, answer

    def _fault(self, key: EndpointKey, variant: str) -> FaultRule | None:
        if not self._faults:
            return None
        subject = {"service": "sagemaker", "action": "InvokeEndpoint", "resource": key.name}
        subject |= {"endpoint": key.name, "variant": variant}
        if fault := self._faults.hit(("throttle", "down"), **subject):
            if fault.effect == "throttle":
                raise InvocationError(400, "ThrottlingException", "Rate exceeded")
            raise InvocationError(503, "ServiceUnavailable", "Service Unavailable")
        return self._faults.hit(("latency", "error", "answer"), **subject)


def _choose(route: Route, environ: Environ) -> str:
    target: str = environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT", "")
    if target:
        if target not in route.hosts:
            raise InvocationError(400, "ValidationError", f"Variant {target} not found for endpoint.")
        return target
    chosen = route.choose()
    if chosen is None:
        raise InvocationError(400, "ValidationError", "All variants of the endpoint have weight 0.")
    return chosen


def _call_model(
    container: Container, environ: Environ, body: bytes, fault: FaultRule | None
) -> tuple[int, str, bytes, str]:
    """Status (0 when the model did not answer in time), content type, body and custom attributes of the answer."""
    headers = {
        "Content-Type": environ.get("CONTENT_TYPE") or "application/octet-stream",
        "Accept": environ.get("HTTP_ACCEPT") or "*/*",
    }
    for name in ("Custom-Attributes", "Inference-Id", "Target-Model"):
        value = environ.get(f"HTTP_X_AMZN_SAGEMAKER_{name.upper().replace('-', '_')}")
        if value:
            headers[f"X-Amzn-SageMaker-{name}"] = value
    if fault is not None and fault.effect == "latency":
        time.sleep(fault.latency_ms / 1000)
    if fault is not None and fault.effect == "error":
        return fault.status, "text/plain", fault.message.encode(), ""
    if fault is not None and fault.effect == "answer":
        return 200, "application/json", fault.message.encode(), ""
    try:
        answer = container.connections.request("POST", "/invocations", headers, body, timeout=INVOCATION_SECONDS)
    except AnswerTooLateError:
        return 0, "text/plain", _TOO_LATE.encode(), ""
    except HttpFailure as error:
        return 500, "text/plain", f"The container closed the connection: {error}".encode(), ""
    custom = answer.headers.get("x-amzn-sagemaker-custom-attributes", "")
    return answer.status, answer.headers.get("content-type", "application/octet-stream"), answer.body, custom


def _model_error(key: EndpointKey, status: int, answer: bytes) -> InvocationError:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html#API_runtime_InvokeEndpoint_Errors"""
    text = answer.decode("utf-8", "replace")[:_MESSAGE_CHARS]
    side = "client" if 400 <= status < 500 else "server"
    group = f"/aws/sagemaker/Endpoints/{key.name}"
    page = (
        f"https://{key.region}.console.aws.amazon.com/cloudwatch/home?region={key.region}#logEventViewer:group={group}"
    )
    message = (
        f'Received {side} error ({status}) from primary with message "{text}". See {page} in account {key.account} '
        "for more information."
    )
    arn = f"arn:aws:logs:{key.region}:{key.account}:log-group:{group}"
    return InvocationError(
        424, "ModelError", message, OriginalStatusCode=status, OriginalMessage=text, LogStreamArn=arn
    )
