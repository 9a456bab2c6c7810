"""What an AWS request is: service, region, account, action, resource; and errors in its own protocol."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import escape

Environ = dict[str, Any]

ACCOUNT = "123456789012"
DEFAULT_REGION = "us-east-1"
_PEEK_BYTES = 4 * 1024 * 1024
_SUMMARY_VALUE_CHARS = 160
_SECRET_SERVICES = frozenset({"secretsmanager", "ssm", "kms", "sts"})
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_READS = (
    "Get", "List", "Describe", "Head", "Batch", "Check", "Lookup", "Search", "Query", "Scan", "Select", "Filter",
    "Test", "Validate", "Simulate", "Estimate", "Assume", "Decode", "Invoke", "Options", "Encrypt", "Decrypt",
    "Sign", "Verify", "Receive",
)  # fmt: skip
_BATCH_WRITES = re.compile(r"^Batch(Delete|Put|Write|Update|Create|Associate|Disassociate|Add|Replace)")


@dataclass(frozen=True, slots=True)
class Call:
    """One request, named as the AWS documentation names it."""

    service: str
    action: str
    resource: str = ""
    region: str = DEFAULT_REGION
    access_key: str = ""
    protocol: str = "rest-json"
    summary: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mutating(self) -> bool:
        """Whether the action may change something."""
        return is_mutating(self.action)


def is_mutating(action: str) -> bool:
    """Whether an action of this name may change something that lasts, judged by its verb.

    A message that is received is hidden for a while and comes again, so looking into a queue changes nothing.
    """
    if action.startswith("Batch"):
        return bool(_BATCH_WRITES.match(action))
    return not any(action.startswith(verb) for verb in _READS)


def credential_scope(environ: Environ) -> tuple[str, str, str] | None:
    """Access key, region and service from a Signature Version 4 header or presigned URL, if there is one."""
    match = _SCOPE.search(environ.get("HTTP_AUTHORIZATION") or "")
    if match is None and "X-Amz-Credential" in (environ.get("QUERY_STRING") or ""):
        match = _SCOPE.search("Credential=" + unquote(parse_qs(environ["QUERY_STRING"])["X-Amz-Credential"][0]))
    return (match[1], match[2], match[3]) if match else None


def peek_body(environ: Environ) -> bytes:
    """The body of a small request, left in place for whoever reads it next."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not 0 < length <= _PEEK_BYTES:
        return b""
    body: bytes = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def name_call(environ: Environ) -> Call:
    """Name a request that is on its way to an AWS service.

    Args:
        environ: the WSGI environment; a small body is read and put back.
    """
    scope = credential_scope(environ)
    access_key, region, service = scope or ("", DEFAULT_REGION, "")
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        action = target.rpartition(".")[2]
        parameters = _json_object(peek_body(environ))
        summary = {} if service in _SECRET_SERVICES else _summarise(parameters)
        return Call(service, action, _resource_of(action, parameters), region, access_key, "json", summary)
    if (environ.get("CONTENT_TYPE") or "").startswith("application/x-www-form-urlencoded"):
        form = {key: values[0] for key, values in parse_qs(peek_body(environ).decode("utf-8", "replace")).items()}
        if "Action" in form:
            action = form.pop("Action")
            form.pop("Version", None)
            summary = {} if service in _SECRET_SERVICES else _summarise(form)
            return Call(service or "sts", action, _resource_of(action, form), region, access_key, "query", summary)
    if service in {"", "s3", "s3express"}:
        return _name_s3(environ, region, access_key)
    action = _rest_action(service, environ)
    return Call(service, action, unquote(environ.get("PATH_INFO") or "/"), region, access_key, "rest-json")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _resource_of(action: str, parameters: Mapping[str, Any]) -> str:
    """The value of the parameter that names what the action is about."""
    noun = re.sub(r"^(?:Batch)?[A-Z][a-z]+", "", action)
    for key in (f"{noun}Name", f"{noun}Id", f"{noun}Arn", noun):
        if isinstance(parameters.get(key), str):
            return str(parameters[key])
    for ending in ("name", "arn", "id", "url"):
        for key, value in parameters.items():
            if isinstance(value, str) and key.lower().endswith(ending):
                return value
    return ""


def _summarise(parameters: Mapping[str, Any]) -> dict[str, Any]:
    summary = {}
    for key, value in parameters.items():
        if isinstance(value, str | int | float | bool):
            summary[key] = value[:_SUMMARY_VALUE_CHARS] if isinstance(value, str) else value
        else:
            summary[key] = json.dumps(value, default=str)[:_SUMMARY_VALUE_CHARS]
    return summary


# Sub-resource in the query string → what GET, PUT, DELETE and POST on it are called.
_S3_SUBRESOURCES = {
    "acl": ("GetObjectAcl", "PutObjectAcl", "", ""),
    "tagging": ("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging", ""),
    "legal-hold": ("GetObjectLegalHold", "PutObjectLegalHold", "", ""),
    "retention": ("GetObjectRetention", "PutObjectRetention", "", ""),
    "attributes": ("GetObjectAttributes", "", "", ""),
    "restore": ("", "", "", "RestoreObject"),
    "select": ("", "", "", "SelectObjectContent"),
    "uploads": ("", "", "", "CreateMultipartUpload"),
}
_S3_METHOD = {"GET": 0, "HEAD": 0, "PUT": 1, "DELETE": 2, "POST": 3}
_S3_BUCKET_PLAIN = {"PUT": "CreateBucket", "DELETE": "DeleteBucket", "HEAD": "HeadBucket", "POST": "PostObject"}
_S3_OBJECT_PLAIN = {
    "GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject", "DELETE": "DeleteObject", "POST": "PostObject",
}  # fmt: skip


def _name_s3(environ: Environ, region: str, access_key: str) -> Call:
    bucket, _, key = (environ.get("PATH_INFO") or "/").lstrip("/").partition("/")
    query = parse_qs(environ.get("QUERY_STRING") or "", keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    if not bucket:
        action = "ListBuckets"
    elif not key:
        action = _name_s3_bucket(method, query)
    else:
        action = _name_s3_object(environ, method, query)
    summary: dict[str, Any] = {}
    for name, variable in (
        ("copy_source", "HTTP_X_AMZ_COPY_SOURCE"), ("range", "HTTP_RANGE"), ("if_match", "HTTP_IF_MATCH"),
        ("if_none_match", "HTTP_IF_NONE_MATCH"),
    ):  # fmt: skip
        if environ.get(variable):
            summary[name] = environ[variable]
    if "partNumber" in query:
        summary["part_number"] = query["partNumber"][0]
    return Call("s3", action, f"{bucket}/{key}" if key else bucket, region, access_key, "rest-xml", summary)


def _name_s3_bucket(method: str, query: Mapping[str, Any]) -> str:
    if method == "POST" and "delete" in query:
        return "DeleteObjects"
    if method == "GET":
        for name, action in (
            ("versions", "ListObjectVersions"), ("uploads", "ListMultipartUploads"), ("list-type", "ListObjectsV2"),
        ):  # fmt: skip
            if name in query:
                return action
    verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method, "")
    for name in query:
        if verb and name in _S3_BUCKET_SETTINGS:
            return verb + _S3_BUCKET_SETTINGS[name]
    return "ListObjects" if method == "GET" else _S3_BUCKET_PLAIN.get(method, "Options")


_S3_BUCKET_SETTINGS = {
    "acl": "BucketAcl", "cors": "BucketCors", "encryption": "BucketEncryption", "location": "BucketLocation",
    "lifecycle": "BucketLifecycleConfiguration", "logging": "BucketLogging", "policy": "BucketPolicy",
    "notification": "BucketNotificationConfiguration", "object-lock": "ObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls", "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "PublicAccessBlock", "replication": "BucketReplication", "tagging": "BucketTagging",
    "versioning": "BucketVersioning", "website": "BucketWebsite", "accelerate": "BucketAccelerateConfiguration",
    "inventory": "BucketInventoryConfiguration",
}  # fmt: skip


def _name_s3_object(environ: Environ, method: str, query: Mapping[str, Any]) -> str:
    copied = "HTTP_X_AMZ_COPY_SOURCE" in environ
    if "uploadId" in query:
        if method == "PUT":
            return "UploadPartCopy" if copied else "UploadPart"
        return {"GET": "ListParts", "DELETE": "AbortMultipartUpload"}.get(method, "CompleteMultipartUpload")
    for name, actions in _S3_SUBRESOURCES.items():
        if name in query and actions[_S3_METHOD.get(method, 0)]:
            return actions[_S3_METHOD[method]]
    if method == "PUT" and copied:
        return "CopyObject"
    return _S3_OBJECT_PLAIN.get(method, "Options")


def _rest_action(service: str, environ: Environ) -> str:
    """The action of a REST service, from botocore's model of its paths."""
    from moto.core.request import Request
    from moto.core.routing import get_service_router
    from werkzeug.exceptions import NotFound

    try:
        operation, _ = get_service_router(service).match(Request(dict(environ)))
    except (NotFound, NotImplementedError, ValueError, KeyError, LookupError):
        return environ["REQUEST_METHOD"].title()
    name: str = operation.name
    return name


def render_error(protocol: str, code: str, message: str, status: int) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of an AWS error in the protocol that the caller speaks."""
    if protocol == "rest-xml":
        error = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'
        return [("Content-Type", "application/xml")], body.encode()
    if protocol == "query":
        kind = "Sender" if status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
            "<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
        )
        return [("Content-Type", "text/xml")], body.encode()
    content_type = "application/x-amz-json-1.1" if protocol == "json" else "application/json"
    headers = [("Content-Type", content_type), ("x-amzn-ErrorType", code)]
    return headers, json.dumps({"__type": code, "message": message, "Message": message}).encode()


def error_code(headers: Iterable[tuple[str, str]], body: bytes) -> str:
    """The error code of a failed response, as well as it can be told."""
    for name, value in headers:
        if name.lower() == "x-amzn-errortype":
            return value.split(":")[0]
    if match := re.search(rb"<Code>([^<]+)</Code>", body):
        return match[1].decode()
    code = _json_object(body).get("__type", "") if body.startswith(b"{") else ""
    return str(code).rpartition("#")[2]
