"""Rows of a table, landed in S3 as objects that never change; from there on they are treated like any other data.

::

    retrain/<service>/landed/cursor.json                how far the table has been read, and which objects hold its rows
    retrain/<service>/landed/<n>-<m>-<digest>.parquet   some rows
    retrain/<service>/landed/<n>-<m>-<digest>.tail      digests of the rows that the next reading will meet again

A reading counts when the cursor names it, in one conditional write: what a killed one left behind is never looked at.
Landing decides nothing about training: which objects were trained on or refused is in the watermark, as for data that
others put into S3.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call
from slipway.documents import DocumentStore, parse_document
from slipway.errors import PermanentError, StateConflictError, StorageUnavailableError
from slipway.training.fresh_rows import unpack
from slipway.training.mark import Mark
from slipway.training.store import from_record, to_record
from slipway.training.watermark import S3Object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Part:
    """Landed rows.

    Args:
        object: The object that holds them.
        rows: How many.
    """

    object: S3Object
    rows: int


@dataclass(frozen=True)
class Cursor:
    """How far a table has been read.

    Args:
        source: What is read; another source begins anew.
        through: Highest value of the watermark column that was read.
        tail: Key of the digests of the rows from the mark's floor on.
        tail_rows: How many these are.
        columns: Columns that the digests are of.
        readings: Number of readings.
        landed: All landed objects, oldest first.
    """

    source: str
    through: Mark | None = None
    tail: str | None = None
    tail_rows: int = 0
    columns: tuple[str, ...] = ()
    readings: int = 0
    landed: tuple[Part, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "through": self.through.to_document() if self.through else None,
            "tail": self.tail,
            "tail_rows": self.tail_rows,
            "columns": list(self.columns),
            "readings": self.readings,
            "landed": [{**to_record(part.object), "rows": part.rows} for part in self.landed],
        }

    @classmethod
    def from_document(cls, found: dict[str, Any]) -> Cursor:
        """Read the JSON form."""
        return cls(
            source=found["source"],
            through=Mark.from_document(found["through"]) if found["through"] else None,
            tail=found["tail"],
            tail_rows=int(found["tail_rows"]),
            columns=tuple(found["columns"]),
            readings=int(found["readings"]),
            landed=tuple(Part(from_record(each), int(each["rows"])) for each in found["landed"]),
        )


class LandingStore:
    """Reads and writes a service's landed rows.

    Args:
        s3: A boto3 S3 client.
        bucket: The artifact bucket.
        service: Name of the service.
    """

    def __init__(self, s3: S3Client, bucket: str, service: str) -> None:
        self._s3 = s3
        self._documents = DocumentStore(s3, bucket)
        self._bucket = bucket
        self.prefix = f"retrain/{service}/landed/"

    def read(self, source: str) -> tuple[Cursor, str]:
        """The cursor of a source and its entity tag, which is empty before the first reading."""
        found = self._documents.read(self._cursor_key)
        if found is None:
            return Cursor(source), ""
        cursor = Cursor.from_document(parse_document(found.body, self._documents.uri(self._cursor_key)))
        return (cursor if cursor.source == source else Cursor(source, readings=cursor.readings)), found.etag

    def commit(self, cursor: Cursor, etag: str) -> None:
        """Let a reading count.

        Raises:
            StateConflictError: Somebody else read the table meanwhile; nothing of this reading counts.
        """
        body = json.dumps(cursor.to_document(), indent=1, sort_keys=True).encode() + b"\n"
        key = self._cursor_key
        if not (self._documents.replace(key, body, etag) if etag else self._documents.create(key, body)):
            raise StateConflictError(f"{self._documents.uri(key)} changed while {cursor.source} was read.")

    def put(self, reading: int, number: int, body: bytes, ending: str) -> S3Object:
        """Write an object named after its content, so that no other try can change it.

        Args:
            reading: Number of the reading.
            number: Number of the object within the reading: equal rows in two objects stay two objects.
            body: The content.
            ending: Ending of the name.
        """
        key = f"{self.prefix}{reading:06d}-{number:05d}-{hashlib.sha256(body).hexdigest()[:16]}.{ending}"
        with aws_call(f"write {self._documents.uri(key)}", unavailable=StorageUnavailableError):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
            found = self._s3.head_object(Bucket=self._bucket, Key=key)
        return S3Object(key, found["ETag"].strip('"'), found["LastModified"], len(body))

    def tail(self, cursor: Cursor) -> Counter[bytes]:
        """The digests of the cursor's tail.

        Raises:
            PermanentError: They were deleted.
        """
        if cursor.tail is None:
            return Counter()
        found = self._documents.read(cursor.tail)
        if found is None:
            raise PermanentError(
                f"{self._documents.uri(cursor.tail)} is gone, so landed rows cannot be recognised. Restore it; "
                f"nothing below {self.prefix} may be deleted while the service is retrained."
            )
        return unpack(found.body)

    def uri(self, key: str) -> str:
        """The address of an object."""
        return self._documents.uri(key)

    def place(self, reading: int) -> str:
        """How the URIs of a reading's objects begin, for who writes them in our stead."""
        return self._documents.uri(f"{self.prefix}{reading:06d}-")

    @property
    def _cursor_key(self) -> str:
        return f"{self.prefix}cursor.json"


def landed_by_trainer(cursor: Cursor, found: Mapping[str, Any]) -> Cursor:
    """The cursor after the trainer has landed rows of Spark's catalog.

    Args:
        cursor: The cursor before.
        found: The trainer's result: ``parts``, ``through``, ``tail``, ``tail_rows`` and ``columns``.
    """
    parts = tuple(Part(from_record(each), int(each["rows"])) for each in found["parts"])
    return replace(
        cursor,
        through=None if found["through"] is None else Mark.of(found["through"]),
        tail=found["tail"],
        tail_rows=found["tail_rows"],
        columns=tuple(found["columns"]),
        readings=cursor.readings + 1,
        landed=(*cursor.landed, *parts),
    )
