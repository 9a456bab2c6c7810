"""From a local file to S3; a big file in parts, of which an interrupted upload sends only the missing ones again."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from slipway.artifacts.bucket import ORIGIN, Bucket, clean_tag, is_encrypted
from slipway.artifacts.content_check import Crc32
from slipway.artifacts.content_tag import (
    MEBIBYTE,
    MULTIPART_BYTES,
    combine,
    content_digest,
    part_size,
    range_blocks,
    ranges,
)
from slipway.artifacts.file_range import FileRange
from slipway.artifacts.local_folder import LocalFolder
from slipway.artifacts.server_copy import write_origin
from slipway.artifacts.sync_plan import Entry
from slipway.artifacts.work import Work, patiently
from slipway.errors import AccessDeniedError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import MultipartUploadTypeDef
    from obstore.store import S3Store

_WORTH_REMEMBERING = 1 * MEBIBYTE  # smaller files are read again sooner than looked up
_CRC32: Final = "CRC32"


@dataclass(frozen=True)
class _PartDigests:
    """MD5 and CRC32 of a part that was read."""

    md5: bytes
    crc32: Crc32


class Upload:
    """One file on its way to one object.

    Args:
        folder: where it comes from.
        entry: which file, as it was listed.
        bucket: where it goes to.
        report: told the bytes after each part, and when the file is done.
        on_tag: told the tag of the content that was sent.
    """

    def __init__(
        self,
        folder: LocalFolder,
        entry: Entry,
        bucket: Bucket,
        report: Callable[[int, int], None],
        on_tag: Callable[[str, str], None],
    ) -> None:
        self._folder = folder
        self._entry = entry
        self._bucket = bucket
        self._report = report
        self._on_tag = on_tag
        self._path = folder.path(entry.path)
        self._uri = f"{bucket.location}{entry.path}"
        self._key = bucket.key(entry.path)
        self._lock = threading.Lock()
        self._upload_id = ""
        self._keeps_crc32 = True  # S3 takes a part's CRC32 only where the upload was begun with that
        self._digests: dict[int, _PartDigests] = {}  # by part number
        self._sent: dict[int, str] = {}  # part number → ETag that S3 gave
        self._parts = 0

    def start(self) -> Iterable[Work] | None:
        """Send a small file, or prepare the parts of a big one."""
        self._status = self._path.stat()
        if self._status.st_size != self._entry.size:
            raise self._changed()
        if self._entry.size < MULTIPART_BYTES:
            patiently(self._send_whole)
            return None
        patiently(self._open)
        spans = ranges(self._entry.size, part_size(self._entry.size))
        self._parts = len(spans)
        return [partial(self._part, number, *span) for number, span in enumerate(spans, 1)]

    def _send_whole(self) -> None:
        data = self._read(0, self._entry.size)
        digest = content_digest(data)
        tag = digest.hex()
        origin = {ORIGIN: tag} if self._bucket.hides_tags else {}
        given = self._bucket.fast(lambda store: self._put_fast(store, data, origin))
        if given is None:
            with self._bucket.call(f"write {self._uri}"):
                answer = self._bucket.client.put_object(
                    Bucket=self._bucket.name, Key=self._key, Body=data, Metadata=origin, ContentMD5=_header(digest)
                )
            given = answer["ETag"]
        self._check(clean_tag(given), tag, has_origin=bool(origin))
        self._report(self._entry.size, 1)

    def _put_fast(self, store: S3Store, data: bytes, origin: dict[str, str]) -> str | None:
        import obstore

        return obstore.put(store, self._key, data, attributes=origin, use_multipart=False)["e_tag"]

    def _open(self) -> None:
        """Find this file's interrupted upload, else begin one."""
        with suppress(AccessDeniedError):  # without the right to list uploads nothing is lost but parts sent before
            if self._take_up():
                return
        with self._bucket.call(f"write {self._uri}"):
            origin = {ORIGIN: self._folder.tag(self._entry.path)} if self._bucket.hides_tags else {}
            begun = self._bucket.client.create_multipart_upload(
                Bucket=self._bucket.name, Key=self._key, Metadata=origin, ChecksumAlgorithm=_CRC32
            )
        self._upload_id = begun["UploadId"]
        self._keeps_crc32 = True
        self._sent = {}

    def _take_up(self) -> bool:
        """Go on with the newest upload of this file that another run began; returns whether there is one."""
        with self._bucket.call(f"look for unfinished uploads of {self._uri}"):
            client, name = self._bucket.client, self._bucket.name
            found = client.list_multipart_uploads(Bucket=name, Prefix=self._key).get("Uploads", [])
            mine = [upload for upload in found if upload.get("Key") == self._key and _can_go_on(upload)]
            if not mine:
                return False
            newest = max(mine, key=lambda upload: upload["Initiated"])
            pages = client.get_paginator("list_parts").paginate(Bucket=name, Key=self._key, UploadId=newest["UploadId"])
            self._sent = {
                part["PartNumber"]: clean_tag(part["ETag"]) for page in pages for part in page.get("Parts", [])
            }
        self._upload_id = newest["UploadId"]
        self._keeps_crc32 = newest.get("ChecksumAlgorithm") == _CRC32
        return True

    def _part(self, number: int, start: int, length: int) -> Iterable[Work] | None:
        with self._path.open("rb", buffering=0) as file:
            digests = _digests(file.fileno(), start, length)
            if self._sent.get(number) != digests.md5.hex():
                body = FileRange(file.fileno(), start, length, str(self._path))
                patiently(lambda: self._send_part(number, body, digests))
        self._report(length, 0)
        with self._lock:
            self._digests[number] = digests
            return [self._complete] if len(self._digests) == self._parts else None

    def _send_part(self, number: int, body: FileRange, digests: _PartDigests) -> None:
        body.seek(0)
        with self._bucket.call(f"write {self._uri}"):
            answer = self._bucket.client.upload_part(
                Bucket=self._bucket.name,
                Key=self._key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=cast("BinaryIO", body),
                ContentMD5=_header(digests.md5),
                **self._kept(digests),
            )
        self._sent[number] = clean_tag(answer["ETag"])

    def _complete(self) -> None:
        parts: Any = [
            {"PartNumber": number, "ETag": f'"{self._sent[number]}"', **self._kept(digests)}
            for number, digests in sorted(self._digests.items())
        ]
        with self._bucket.call(f"write {self._uri}"):
            answer = self._bucket.client.complete_multipart_upload(
                Bucket=self._bucket.name,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": parts},
            )
        tag = combine(digests.md5 for _, digests in sorted(self._digests.items()))
        self._check(clean_tag(answer["ETag"]), tag, has_origin=False)
        self._report(0, 1)

    def _kept(self, digests: _PartDigests) -> Any:
        """What S3 is to keep of a part, for who fetches the object."""
        return {"ChecksumCRC32": digests.crc32.base64()} if self._keeps_crc32 else {}

    def _check(self, given: str, tag: str, *, has_origin: bool) -> None:
        """Compare the tag that S3 gave with the content that was read, and that with the file as it is now."""
        status = self._path.stat()
        if (status.st_mtime_ns, status.st_size) != (self._status.st_mtime_ns, self._status.st_size):
            raise self._changed()
        if given != tag and not has_origin:
            head = self._bucket.head(self._entry.path)
            if is_encrypted(head):
                self._bucket.hides_tags = True
                if head["Metadata"].get(ORIGIN) != tag:
                    write_origin(self._bucket, self._entry, tag)
            elif head["ContentLength"] != self._entry.size or "-" not in clean_tag(head["ETag"]) + tag:
                raise StorageUnavailableError(
                    f"{self._uri} arrived damaged: S3 has the checksum {given}, the file {tag}. Run the sync again."
                )
            else:
                write_origin(self._bucket, self._entry, tag)
        if self._entry.size >= _WORTH_REMEMBERING:
            self._folder.remember_tag(self._entry.path, tag, status)
        self._on_tag(self._entry.path, tag)

    def _changed(self) -> StorageUnavailableError:
        return StorageUnavailableError(f"{self._path} changed while it was being copied; run the sync again.")

    def _read(self, start: int, length: int) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, start)
            while len(data) < length:
                more = os.pread(file.fileno(), length - len(data), start + len(data))
                if not more:
                    raise StorageUnavailableError(
                        f"{self._path} became shorter while it was copied; run the sync again."
                    )
                data += more
        return data


def _can_go_on(upload: MultipartUploadTypeDef) -> bool:
    """Whether an upload was begun with the checksums that we can give it: S3 takes no others for its parts."""
    algorithm, kind = upload.get("ChecksumAlgorithm"), upload.get("ChecksumType", "COMPOSITE")
    return algorithm is None or (algorithm == _CRC32 and kind == "COMPOSITE")


def _digests(descriptor: int, start: int, length: int) -> _PartDigests:
    md5, crc32 = hashlib.md5(usedforsecurity=False), Crc32()
    for block in range_blocks(descriptor, start, length):
        md5.update(block)
        crc32.update(block)
    return _PartDigests(md5.digest(), crc32)


def _header(digest: bytes) -> str:
    """A Content-MD5 header: S3 refuses a body that does not have it."""
    return base64.b64encode(digest).decode()
