"""Conditional requests.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from moto.s3.exceptions import MissingKey, PreconditionFailed, S3ClientError
from moto.s3.models import FakeKey


class NotImplementedHeader(S3ClientError):  # noqa: N818  (AWS's name)
    """A conditional header with a value that S3 does not know."""

    code = "NotImplemented"


class RequestExpired(S3ClientError):  # noqa: N818
    """A presigned URL that is no longer good."""

    code = "AccessDenied"


def unquoted(etag: str) -> str:
    """An ETag without the quotes that S3 does not care about."""
    return etag.strip().removeprefix("W/").strip('"')


def check_write(headers: Mapping[str, Any], existing: FakeKey | None, key_name: str) -> None:
    """Whether an object may be written under the request's ``If-Match`` and ``If-None-Match``.

    Raises:
        PreconditionFailed, MissingKey, NotImplementedHeader: as S3.
    """
    if_none_match, if_match = headers.get("If-None-Match"), headers.get("If-Match")
    if if_none_match:
        if if_none_match.strip() != "*":
            raise NotImplementedHeader("A header you provided implies functionality that is not implemented")
        if existing is not None:
            raise PreconditionFailed("If-None-Match")
    if if_match:
        if existing is None:
            raise MissingKey(key=key_name)
        if if_match.strip() != "*" and unquoted(if_match) != unquoted(existing.etag):
            raise PreconditionFailed("If-Match")


def check_copy_source(headers: Mapping[str, Any], source: FakeKey | None) -> None:
    """Whether an object may be copied under the request's conditions on the source.

    Raises:
        PreconditionFailed: it may not.
    """
    if source is None:
        return
    prefix = "x-amz-copy-source-if-"
    match, none_match = headers.get(f"{prefix}match"), headers.get(f"{prefix}none-match")
    if match and unquoted(match) != unquoted(source.etag):
        raise PreconditionFailed(f"{prefix}match")
    if none_match and unquoted(none_match) == unquoted(source.etag):
        raise PreconditionFailed(f"{prefix}none-match")
    changed = source.last_modified.replace(microsecond=0, tzinfo=UTC)
    since, until = headers.get(f"{prefix}modified-since"), headers.get(f"{prefix}unmodified-since")
    if since and not none_match and changed <= parsedate_to_datetime(since):
        raise PreconditionFailed(f"{prefix}modified-since")
    if until and not match and changed > parsedate_to_datetime(until):
        raise PreconditionFailed(f"{prefix}unmodified-since")


def check_presigned(query: Mapping[str, Any]) -> None:
    """Refuse a presigned URL whose time is over.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html

    Raises:
        RequestExpired: it is.
    """
    if "X-Amz-Expires" in query and "X-Amz-Date" in query:
        signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expires_at = signed_at + timedelta(seconds=int(query["X-Amz-Expires"][0]))
    elif "AWSAccessKeyId" in query and "Expires" in query:  # Signature Version 2
        expires_at = datetime.fromtimestamp(int(query["Expires"][0]), UTC)
    else:
        return
    if datetime.now(UTC) > expires_at:
        raise RequestExpired("Request has expired")
