"""Where the checks are hooked into moto's S3."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlparse

import moto.s3.notifications
import moto.s3.responses
from moto.core.responses import ActionResult
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey, FakeMultipart, S3Backend
from moto.s3.responses import S3Response
from moto.s3.utils import metadata_from_headers

from slipway_localaws.aws_protocol import render_error
from slipway_localaws.patching import replace
from slipway_localaws.s3.conditions import (
    NotImplementedHeader,
    RequestExpired,
    check_copy_source,
    check_presigned,
    check_write,
    unquoted,
)
from slipway_localaws.s3.integrity import check_completion, check_part, check_upload, compute

_STATUS = {NotImplementedHeader: 501, RequestExpired: 403}


def install() -> None:
    """Let moto's S3 verify checksums and conditions, and leave slashes in notifications alone."""
    original_key_response = S3Response._key_response
    original_head_object = S3Response.head_object
    original_copy_object = S3Backend.copy_object

    def key_response(self: S3Response, request: Any, full_url: str) -> Any:
        query = parse_qs(urlparse(full_url).query, keep_blank_values=True)
        _quote_conditions(request)
        try:
            check_presigned(query)
            if request.method in {"PUT", "POST"}:
                _check_before_write(self, request.method, query)
        except S3ClientError as error:
            return _error(self, error)
        return original_key_response(self, request, full_url)

    def head_object(self: S3Response, bucket_name: str, query: Any, key_name: str, headers: Any) -> Any:
        status, answered, body = original_head_object(self, bucket_name, query, key_name, headers)
        if status == 200 and headers.get("x-amz-checksum-mode") == "ENABLED":
            version = (query.get("versionId") or [None])[0]
            _describe_checksum(answered, self.backend.head_object(bucket_name, key_name, version_id=version))
        return status, answered, body

    def copy_object(self: S3Backend, src_key: FakeKey, dest_bucket_name: str, dest_key_name: str, **more: Any) -> Any:
        done = original_copy_object(self, src_key, dest_bucket_name, dest_key_name, **more)
        _checksum_of_whole(self.get_object(dest_bucket_name, dest_key_name))
        return done

    replace(S3Backend, "copy_object", copy_object)
    replace(S3Response, "_key_response", key_response)
    replace(S3Response, "head_object", head_object)
    replace(S3Response, "_get_checksum", _get_checksum)
    replace(moto.s3.responses, "metadata_from_headers", _metadata_from_headers)
    replace(moto.s3.notifications, "quote_plus", lambda name: quote_plus(name, safe="/"))


def _metadata_from_headers(headers: Any) -> Any:
    """S3 keeps the names of user-defined metadata in lower case; WSGI servers give them in title case."""
    found = metadata_from_headers(headers)
    for name in [each for each in found if each.lower().startswith("x-amz-meta-")]:
        found[name.lower()] = found.pop(name)
    return found


def _check_before_write(response: S3Response, method: str, query: dict[str, list[str]]) -> None:
    """All that can refuse a write, before anything is changed."""
    writes_object = method == "PUT" and not query.keys() & {"acl", "tagging", "retention", "legal-hold", "uploadId"}
    completes = method == "POST" and "uploadId" in query
    if writes_object or completes:
        key_name = response.parse_key_name()
        existing = response.backend.get_object(response.bucket_name, key_name)
        check_write(response.headers, existing if isinstance(existing, FakeKey) else None, key_name)
    if completes and (begun := _upload(response, query)):
        check_completion(*_checksums_of(begun), response.raw_body or b"")
    copied = response.headers.get("x-amz-copy-source")
    if copied:
        check_copy_source(response.headers, _copy_source(response, copied))
    elif method == "PUT":
        checked = check_upload(response.headers, response.body or b"", response.raw_body or b"")
        response.checked_upload = checked  # type: ignore[attr-defined]
        if upload := _upload(response, query):
            check_part(*_checksums_of(upload), checked[0])


def _upload(response: S3Response, query: dict[str, list[str]]) -> FakeMultipart | None:
    if "uploadId" not in query:
        return None
    found = response.backend.get_bucket(response.bucket_name).multiparts.get(query["uploadId"][0])
    return found if isinstance(found, FakeMultipart) else None


def _checksums_of(upload: FakeMultipart) -> tuple[str, str]:
    """Algorithm and type that an upload was begun with, empty for none."""
    begun = {name.lower(): str(value or "").upper() for name, value in upload.metadata.items()}
    return begun.get("x-amz-checksum-algorithm", ""), begun.get("x-amz-checksum-type", "")


def _copy_source(response: S3Response, header: str) -> FakeKey | None:
    parsed = urlparse(header)
    bucket, _, key = unquote(parsed.path).lstrip("/").partition("/")
    version = parse_qs(parsed.query).get("versionId", [None])[0]
    found = response.backend.get_object(bucket, key, version_id=version)
    return found if isinstance(found, FakeKey) else None


def _get_checksum(self: S3Response, response_headers: dict[str, Any]) -> tuple[str, str | None]:
    """In the place of moto's, which believes whatever it is told."""
    algorithm, value = getattr(self, "checked_upload", None) or ("", "")
    if algorithm:
        response_headers[f"x-amz-checksum-{algorithm.lower()}"] = value
    return algorithm, value or None


def _describe_checksum(headers: dict[str, Any], key: FakeKey | None) -> None:
    if key is None or not key.checksum_algorithm or not key.checksum_value:
        return
    composite = key.checksum_type == "COMPOSITE"
    value = f"{key.checksum_value}-{key.checksum_parts}" if composite else key.checksum_value
    headers[f"x-amz-checksum-{key.checksum_algorithm.lower()}"] = value
    headers["x-amz-checksum-type"] = key.checksum_type or "FULL_OBJECT"


def _checksum_of_whole(copied: FakeKey | None) -> None:
    """A copy is one piece whatever its source was made of; moto keeps the checksum of the source's parts."""
    if copied is not None and copied.checksum_algorithm:
        copied.checksum_value = compute(copied.checksum_algorithm, copied.value)
        copied.checksum_type, copied.checksum_parts = "FULL_OBJECT", None


def _quote_conditions(request: Any) -> None:
    """moto compares ETags character by character; S3 takes them with and without quotes."""
    if request.method not in {"GET", "HEAD"}:
        return
    for variable in ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"):
        if value := request.environ.get(variable):
            request.environ[variable] = f'"{unquoted(value)}"'


def _error(response: S3Response, error: S3ClientError) -> Any:
    status = _STATUS.get(type(error))
    if status is None:
        return response.serialized(ActionResult(error))
    headers, body = render_error("rest-xml", error.code, error.message, status)
    return status, dict(headers), body
