"""The list of a model's files with their sizes and checksums; its digest names exactly that content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slipway.artifacts.location import S3Location, parse_location
from slipway.artifacts.sync_plan import Entry, Listing
from slipway.aws_errors import aws_call
from slipway.canonical import content_digest
from slipway.errors import InvalidInputError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, order=True)
class ArtifactFile:
    """One file: path below the root, size in bytes, checksum (S3's ETag without quotes)."""

    path: str
    size: int
    checksum: str


@dataclass(frozen=True)
class ArtifactManifest:
    """Files sorted by path."""

    files: tuple[ArtifactFile, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> ArtifactManifest:
        """The manifest of a listing's entries."""
        return cls(tuple(sorted(ArtifactFile(entry.path, entry.size, entry.tag or "") for entry in entries)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over path, size and checksum of every file, hexadecimal."""
        return content_digest([[file.path, file.size, file.checksum] for file in self.files])

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def list_manifest(s3: S3Client, uri: str) -> ArtifactManifest:
    """The manifest of what is below an S3 prefix.

    The checksums are S3's ETags: they stay as long as the objects do, but the same content uploaded in another way may
    have others. To name a model's content, list the place that it was logged to, not a copy of it.

    Raises:
        InvalidInputError: not an S3 URI, or no such bucket.
        StorageUnavailableError, AccessDeniedError: S3.
    """
    location = parse_location(uri)
    if not isinstance(location, S3Location):
        raise InvalidInputError(f"{uri!r}: expected s3://bucket/prefix.")
    return ArtifactManifest.of(list_objects(s3, location).values())


def list_objects(s3: S3Client, location: S3Location) -> Listing:
    """List the objects below a prefix by boto3, markers of folders (keys that end with a slash) left out."""
    listing: dict[str, Entry] = {}
    with aws_call(f"list {location}", unavailable=StorageUnavailableError):
        try:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=location.bucket, Prefix=location.prefix)
            for item in (item for page in pages for item in page.get("Contents", [])):
                path = item["Key"][len(location.prefix) :]
                if path and not (path.endswith("/") and item["Size"] == 0):
                    listing[path] = Entry(path, item["Size"], item["ETag"].strip('"'))
        except s3.exceptions.NoSuchBucket as error:
            raise InvalidInputError(f"There is no bucket {location.bucket!r} ({location}).") from error
    return listing
