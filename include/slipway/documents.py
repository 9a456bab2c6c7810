"""Small JSON documents in S3, written only under a condition.

State, ledger, release records and verification reports are such documents. Two writers never overwrite each
other unseen: a document is created only where there is none (``If-None-Match: *``) and replaced only when it is
still the one that was read (``If-Match: <etag>``).
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code
from slipway.errors import PermanentError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
# 409: another conditional write is under way; 404 on If-Match: the object was deleted in between.
_LOST = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})


@dataclass(frozen=True)
class Document:
    """One object as it was read: its bytes and the entity tag that a replacement has to name."""

    body: bytes
    etag: str


@dataclass(frozen=True)
class Listed:
    """One key of a listing with the time S3 gives it (whole seconds)."""

    key: str
    modified: datetime


class DocumentStore:
    """Reads and conditionally writes documents of one bucket.

    Args:
        s3: a boto3 S3 client.
        bucket: the artifact bucket.
    """

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    def uri(self, key: str) -> str:
        """Return the ``s3://`` address of a key."""
        return f"s3://{self.bucket}/{key}"

    def read(self, key: str) -> Document | None:
        """Read a document.

        Returns:
            The document, or None when there is none.

        Raises:
            SlipwayError: S3 does not answer, refuses, or the bucket does not exist.
        """
        with self._call(f"read {self.uri(key)}"):
            try:
                answer = self._s3.get_object(Bucket=self.bucket, Key=key)
                return Document(answer["Body"].read(), answer["ETag"])
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return None
                raise

    def create(self, key: str, body: bytes) -> bool:
        """Write a document where there is none.

        Returns:
            False when the key was taken: nothing was written. (An earlier attempt of this very call whose answer
            got lost looks the same: read and compare.)

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        return self._put(key, body, {"IfNoneMatch": "*"})

    def replace(self, key: str, body: bytes, etag: str) -> bool:
        """Write a document over the one that was read.

        Args:
            key: the document's key.
            body: the new content.
            etag: the tag of the content that the new one was derived from.

        Returns:
            False when the document is not that one any more: nothing was written.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        return self._put(key, body, {"IfMatch": etag})

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every key below a prefix, in the order of the keys.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        with self._call(f"list {self.uri(prefix)}"):
            for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield Listed(item["Key"], item["LastModified"])

    def _put(self, key: str, body: bytes, condition: dict[str, str]) -> bool:
        with self._call(f"write {self.uri(key)}"):
            try:
                self._s3.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body,
                    ContentType="application/json",
                    **condition,  # type: ignore[arg-type]
                )
            except ClientError as error:
                if error_code(error) in _LOST or (error_code(error) in _ABSENT and "IfMatch" in condition):
                    return False
                raise
        return True

    def _call(self, what: str) -> AbstractContextManager[None]:
        return aws_call(what, unavailable=StorageUnavailableError)


def parse_document(body: bytes, uri: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        body: the document's bytes.
        uri: where it stands, for the message.

    Raises:
        PermanentError: it is no JSON object.
    """
    try:
        value = json.loads(body)
    except ValueError as error:
        raise PermanentError(f"{uri} is not JSON ({error}). It was written by something other than Slipway.") from None
    if not isinstance(value, dict):
        raise PermanentError(f"{uri} holds a JSON {type(value).__name__}, expected an object.")
    return value
