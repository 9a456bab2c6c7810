"""The Docker Registry HTTP API V2 as ECR speaks it.

https://docs.docker.com/registry/spec/api/ and https://docs.aws.amazon.com/AmazonECR/latest/userguide/registries.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from moto.ecr.exceptions import RepositoryNotFoundException

from slipway_localaws.aws_protocol import Call, Environ
from slipway_localaws.faults import Faults
from slipway_localaws.journal import Journal
from slipway_localaws.registry.blobs import BlobStore, UploadUnknownError
from slipway_localaws.registry.messages import Answer, RegistryError, Request
from slipway_localaws.registry.operations import Operations
from slipway_localaws.registry.tokens import Grant, InvalidTokenError, TokenSigner

StartResponse = Callable[..., Any]
_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?:(?P<manifests>manifests)/(?P<reference>[^/]+)|blobs/(?P<uploads>uploads)/?(?P<upload>[^/]*)"
    r"|blobs/(?P<digest>[^/]+)|(?P<tags>tags/list))"
)


_REASONS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 206: "Partial Content", 400: "Bad Request",
    401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 416: "Requested Range Not Satisfiable",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip


class RegistryApplication:
    """The WSGI application below ``/v2/``.

    Args:
        blobs: where the bytes are.
        signer: checks the callers' tokens.
        journal: where requests are recorded, as service ``registry``.
        faults: what tests want to go wrong.
        on_change: called after each push with the service's name.
    """

    def __init__(
        self, blobs: BlobStore, signer: TokenSigner, journal: Journal, faults: Faults, on_change: Callable[[str], None]
    ) -> None:
        self._blobs = blobs
        self._signer = signer
        self._journal = journal
        self._faults = faults
        self._on_change = on_change

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        error = ""
        try:
            self._raise_fault(environ)
            answer = self._answer(environ)
        except RegistryError as failure:
            error = failure.code
            answer = _error_answer(failure, _action(environ), environ["PATH_INFO"])
        call = Call("registry", answer.action, answer.resource or environ["PATH_INFO"])
        if call.mutating and not error:
            self._on_change("ecr")
        self._journal.record(call, answer.status, int(environ.get("CONTENT_LENGTH") or 0), error=error)
        headers = {"Docker-Distribution-Api-Version": "registry/2.0", **answer.headers}
        headers.setdefault("Content-Length", "0")
        start_response(f"{answer.status} {_REASONS.get(answer.status, 'Unknown')}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else answer.body

    def _raise_fault(self, environ: Environ) -> None:
        subject = {"service": "registry", "action": _action(environ), "resource": environ["PATH_INFO"]}
        if fault := self._faults.hit(("error", "throttle", "down"), **subject):
            throttled = fault.effect == "throttle"
            status = 429 if throttled else 503 if fault.effect == "down" else fault.status
            raise RegistryError(status, "TOOMANYREQUESTS" if throttled else "UNAVAILABLE", fault.message)

    def _answer(self, environ: Environ) -> Answer:
        base_url = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"
        query = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        request = Request(environ["REQUEST_METHOD"], environ, query, base_url, self._grant(environ, query, base_url))
        path = environ["PATH_INFO"]
        if path in {"/v2", "/v2/"}:
            body = b"{}"
            return Answer(
                "CheckVersion", headers={"Content-Type": "application/json", "Content-Length": "2"}, body=[body]
            )
        route = _ROUTE.fullmatch(path)
        if route is None:
            raise RegistryError(404, "NOT_FOUND", f"no such path: {path}")
        request.name = route["name"]
        handlers = Operations(request, self._blobs)
        try:
            return _dispatch(handlers, request, route)
        except RepositoryNotFoundException as error:
            raise RegistryError(404, "NAME_UNKNOWN", str(error)) from None
        except UploadUnknownError:
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "no such upload") from None

    def _grant(self, environ: Environ, query: dict[str, str], base_url: str) -> Grant:
        try:
            if "token" in query:
                return self._signer.check(query["token"])
            return self._signer.check_basic(environ.get("HTTP_AUTHORIZATION", ""))
        except InvalidTokenError as error:
            challenge = {"WWW-Authenticate": f'Basic realm="{base_url}/",service="ecr.amazonaws.com"'}
            raise RegistryError(401, "UNAUTHORIZED", str(error), challenge) from None


def _dispatch(handlers: Operations, request: Request, route: re.Match[str]) -> Answer:
    method = request.method
    if route["tags"] and method == "GET":
        return handlers.list_tags()
    if route["manifests"] and method in {"GET", "HEAD"}:
        return handlers.get_manifest(route["reference"])
    if route["manifests"] and method == "PUT":
        return handlers.put_manifest(route["reference"])
    if route["uploads"]:
        return handlers.upload(route["upload"])
    if route["digest"] and method in {"GET", "HEAD"}:
        return handlers.get_blob(route["digest"])
    raise RegistryError(405, "UNSUPPORTED", f"{method} is not supported here")


def _action(environ: Environ) -> str:
    """What the journal calls a request that was refused before it was understood."""
    path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
    if "/blobs/uploads" in path:
        return {"POST": "StartBlobUpload", "PATCH": "PatchBlobUpload", "PUT": "PutBlob"}.get(method, "GetBlobUpload")
    kind = "Manifest" if "/manifests/" in path else "Blob" if "/blobs/" in path else ""
    return f"{method.title()}{kind}" if kind else "ListTags" if path.endswith("/tags/list") else "CheckVersion"


def _error_answer(failure: RegistryError, action: str, resource: str) -> Answer:
    body = json.dumps({"errors": [{"code": failure.code, "message": str(failure)}]}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **failure.headers}
    return Answer(action, failure.status, headers, [body], resource)
