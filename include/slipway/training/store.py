"""The documents of retraining in the artifact bucket: the watermark, and what each run works on.

::

    retrain/<service>/watermark.json
    retrain/<service>/runs/<run>/batch.json, validation.json, result.json, verdict.json, data-docs/<n>.html
    retrain/<service>/quarantine/<etag>-<digest of its address>/<name>, reasons.json
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from datetime import datetime
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call, error_code
from slipway.documents import DocumentStore, parse_document
from slipway.errors import PermanentError, StateConflictError, StorageUnavailableError
from slipway.training.watermark import S3Object, Watermark

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 5
_BLOCK_BYTES = 1 << 20
#: What S3 says of an object that was overwritten or deleted since it was listed.
_GONE = frozenset({"PreconditionFailed", "412", "NoSuchKey", "404"})


class RetrainStore:
    """Reads and writes a service's retraining documents.

    Args:
        s3: A boto3 S3 client.
        bucket: The artifact bucket.
        service: Name of the service.
    """

    def __init__(self, s3: S3Client, bucket: str, service: str) -> None:
        self._s3 = s3
        self._documents = DocumentStore(s3, bucket)
        self._bucket = bucket
        self._root = f"retrain/{service}"

    def watermark(self) -> Watermark:
        """The watermark; an empty one at first."""
        return self._read_watermark()[0]

    def advance(self, change: Callable[[Watermark], Watermark]) -> Watermark:
        """Change the watermark, again from the start when somebody else did meanwhile.

        Raises:
            StateConflictError: Others kept changing it.
        """
        key = f"{self._root}/watermark.json"
        for _ in range(_ATTEMPTS):
            found, etag = self._read_watermark()
            wanted = change(found)
            if wanted == found:
                return found
            body = _body(wanted.to_document())
            written = self._documents.replace(key, body, etag) if etag else self._documents.create(key, body)
            if written:
                return wanted
        raise StateConflictError(f"{self._documents.uri(key)} kept changing while it was to be advanced.")

    def read(self, run_id: str, name: str) -> dict[str, Any] | None:
        """A document of a run; None when it was not written."""
        key = self.key(run_id, name)
        found = self._documents.read(key)
        return parse_document(found.body, self._documents.uri(key)) if found else None

    def write(self, run_id: str, name: str, document: dict[str, Any]) -> str:
        """Write a document of a run; returns its URI. The same content is not written again."""
        return self.write_body(run_id, name, _body(document))

    def write_body(self, run_id: str, name: str, body: bytes, content_type: str = "application/json") -> str:
        """Write a file of a run; returns its URI."""
        key = self.key(run_id, name)
        found = self._documents.read(key)
        if found is None or found.body != body:
            with aws_call(f"write {self._documents.uri(key)}", unavailable=StorageUnavailableError):
                self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=content_type)
        return self._documents.uri(key)

    def key(self, run_id: str, name: str) -> str:
        """The key of a run's document."""
        return f"{self._root}/runs/{re.sub(r'[^A-Za-z0-9._=-]+', '-', run_id)}/{name}"

    def quarantine(self, source_bucket: str, refused: S3Object, reasons: list[str]) -> str | None:
        """Copy an object aside with the reasons; returns where, or None when it was overwritten or deleted meanwhile.

        Doing it again changes nothing. Objects with the same bytes have the same entity tag, and are kept apart by the
        addresses they came from.
        """
        address = f"s3://{source_bucket}/{refused.key}"
        digest = hashlib.sha256(address.encode()).hexdigest()[:16]
        folder = f"{self._root}/quarantine/{refused.etag}-{digest}"
        key = f"{folder}/{refused.key.rpartition('/')[2]}"
        reasons_key = f"{folder}/reasons.json"
        if self._documents.read(reasons_key) is None:
            with aws_call(f"quarantine {address}", unavailable=StorageUnavailableError):
                try:
                    self._s3.copy_object(
                        Bucket=self._bucket,
                        Key=key,
                        CopySource={"Bucket": source_bucket, "Key": refused.key},
                        CopySourceIfMatch=f'"{refused.etag}"',
                    )
                except self._s3.exceptions.ClientError as error:
                    if error_code(error) not in _GONE:
                        raise
                    return None
            document = {"source": address, "etag": refused.etag, "reasons": reasons}
            self._documents.create(reasons_key, _body(document))
        return self._documents.uri(key)

    def _read_watermark(self) -> tuple[Watermark, str]:
        key = f"{self._root}/watermark.json"
        found = self._documents.read(key)
        if found is None:
            return Watermark(), ""
        return Watermark.from_document(parse_document(found.body, self._documents.uri(key))), found.etag


def list_objects(s3: S3Client, uri: str) -> list[S3Object]:
    """Everything below a folder in S3.

    Args:
        s3: A boto3 S3 client.
        uri: ``s3://bucket/folder/``.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    with aws_call(f"list {uri}", unavailable=StorageUnavailableError):
        return [
            S3Object(item["Key"], item["ETag"].strip('"'), item["LastModified"], item["Size"])
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for item in page.get("Contents", [])
        ]


def fetch_object(s3: S3Client, bucket: str, wanted: S3Object, place: Path) -> None:
    """Download an object as it was listed.

    Args:
        s3: A boto3 S3 client.
        bucket: Its bucket.
        wanted: The object.
        place: File to write.

    Raises:
        PermanentError: It was overwritten or deleted since.
        StorageUnavailableError: S3 does not give it.
    """
    uri = f"s3://{bucket}/{wanted.key}"
    with aws_call(f"read {uri}", unavailable=StorageUnavailableError):
        try:
            found = s3.get_object(Bucket=bucket, Key=wanted.key, IfMatch=f'"{wanted.etag}"')
        except s3.exceptions.ClientError as error:
            if error_code(error) not in _GONE:
                raise
            raise PermanentError(
                f"{uri} was overwritten or deleted while this run was under way; start a new run"
            ) from error
        with place.open("wb") as file:
            shutil.copyfileobj(found["Body"], file, _BLOCK_BYTES)


def to_record(found: S3Object) -> dict[str, Any]:
    """The JSON form of a listed object."""
    return {"key": found.key, "etag": found.etag, "modified": found.modified.isoformat(), "size": found.size}


def from_record(record: dict[str, Any]) -> S3Object:
    """Read :func:`to_record`'s form."""
    modified = datetime.fromisoformat(record["modified"])
    return S3Object(record["key"], record["etag"], modified, int(record["size"]))


def _body(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
