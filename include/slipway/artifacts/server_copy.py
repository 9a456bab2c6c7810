"""From S3 to S3 without passing through this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from slipway.artifacts.bucket import CONTENT, ORIGIN, Bucket, clean_tag, content_tag
from slipway.artifacts.content_tag import MEBIBYTE, part_count, ranges
from slipway.artifacts.sync_plan import Entry
from slipway.artifacts.work import Work, run_all
from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# CopyObject takes at most 5 GiB; well before that, parts copied side by side are faster.
IN_PARTS_BYTES = 512 * MEBIBYTE
_PART = 128 * MEBIBYTE
_MOST_PARTS = 10_000
_PARTS_AT_ONCE = 4
_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")


class ServerCopy:
    """One object on its way to another.

    Args:
        source: where it comes from.
        entry: which object, as it was listed; another version of it is refused.
        destination: where it goes to; its client makes the calls.
        report: told the bytes after each part, and when the object is done.
    """

    def __init__(self, source: Bucket, entry: Entry, destination: Bucket, report: Callable[[int, int], None]) -> None:
        self._source = source
        self._entry = entry
        self._destination = destination
        self._report = report
        self._lock = threading.Lock()
        self._sent: dict[int, str] = {}
        self._parts = 0
        self._upload_id = ""

    def start(self) -> Iterable[Work] | None:
        """Copy in one call, or prepare the parts of a big object."""
        if self._entry.size <= IN_PARTS_BYTES:
            self._copy_whole()
            return None
        return self.open(self._noted_attributes())

    def open(self, attributes: dict[str, Any]) -> list[Work]:
        """Begin a copy in parts that gives the new object these attributes; returns the work of its parts."""
        with self._call():
            begun = self._destination.client.create_multipart_upload(**self._target(), **attributes)
        self._upload_id = begun["UploadId"]
        spans = ranges(self._entry.size, max(_PART, -(-self._entry.size // _MOST_PARTS)))
        self._parts = len(spans)
        return [partial(self._part, number, *span) for number, span in enumerate(spans, 1)]

    def _copy_whole(self) -> None:
        changes: dict[str, Any] = {}
        if self._destination.hides_tags or part_count(self._entry.tag or "") is not None:
            head = self._source.head(self._entry.path)
            changes = _attributes(head, self._entry.tag, content_tag(head)) | {"MetadataDirective": "REPLACE"}
        with self._call():
            answer = self._destination.client.copy_object(**self._target(), **self._from(), **changes)
        given = clean_tag(answer["CopyObjectResult"].get("ETag"))
        if not changes and given != self._entry.tag:
            noted = self._noted_attributes()["Metadata"]
            self._destination.hides_tags = True
            write_origin(self._destination, self._entry, noted[ORIGIN], content=noted.get(CONTENT, noted[ORIGIN]))
        self._report(self._entry.size, 1)

    def _part(self, number: int, start: int, length: int) -> Iterable[Work] | None:
        with self._call():
            answer = self._destination.client.upload_part_copy(
                **self._target(),
                **self._from(),
                UploadId=self._upload_id,
                PartNumber=number,
                CopySourceRange=f"bytes={start}-{start + length - 1}",
            )
        self._report(length, 0)
        with self._lock:
            self._sent[number] = answer["CopyPartResult"]["ETag"]
            return [self._complete] if len(self._sent) == self._parts else None

    def _complete(self) -> None:
        parts = [{"PartNumber": number, "ETag": self._sent[number]} for number in sorted(self._sent)]
        with self._call():
            self._destination.client.complete_multipart_upload(
                **self._target(),
                UploadId=self._upload_id,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
            )
        self._report(0, 1)

    def _noted_attributes(self) -> dict[str, Any]:
        """The source's attributes with its tag as origin; refused when the source is not what was listed any more."""
        head = self._source.head(self._entry.path)
        if clean_tag(head["ETag"]) != self._entry.tag:
            raise StorageUnavailableError(
                f"{self._source.location}{self._entry.path} changed while it was being copied; run the sync again."
            )
        return _attributes(head, self._entry.tag, content_tag(head))

    def _target(self) -> Any:
        return {"Bucket": self._destination.name, "Key": self._destination.key(self._entry.path)}

    def _from(self) -> Any:
        where = {"Bucket": self._source.name, "Key": self._source.key(self._entry.path)}
        return {"CopySource": where, "CopySourceIfMatch": f'"{self._entry.tag}"'}

    def _call(self) -> Any:
        path = self._entry.path
        return self._destination.call(f"copy {self._source.location}{path} to {self._destination.location}{path}")


def write_origin(bucket: Bucket, entry: Entry, tag: str, *, content: str | None = None) -> None:
    """Let an object remember what it was made from, by a copy onto itself.

    Args:
        bucket: where the object is.
        entry: the object.
        tag: of the file or object that it was made from.
        content: tag of the content, empty when nobody knows it; None: the same.
    """
    head = bucket.head(entry.path)
    attributes = _attributes(head, tag, tag if content is None else content)
    if entry.size > IN_PARTS_BYTES:
        present = Entry(entry.path, entry.size, clean_tag(head["ETag"]))
        run_all(ServerCopy(bucket, present, bucket, lambda *_: None).open(attributes), workers=_PARTS_AT_ONCE)
        return
    where: Any = {"Bucket": bucket.name, "Key": bucket.key(entry.path)}
    with bucket.call(f"write {bucket.location}{entry.path}"):
        bucket.client.copy_object(
            **where, CopySource=where, CopySourceIfMatch=head["ETag"], MetadataDirective="REPLACE", **attributes
        )


def _attributes(head: HeadObjectOutputTypeDef, origin: str | None, content: str) -> dict[str, Any]:
    """An object's own attributes, to be given again where a copy does not keep them, with origin and content added."""
    kept: dict[str, Any] = {name: head[name] for name in _KEPT if name in head}  # type: ignore[literal-required]
    metadata = {name: value for name, value in head["Metadata"].items() if name != CONTENT}
    known = {ORIGIN: origin or ""} | ({CONTENT: content} if content != origin else {})
    return kept | {"Metadata": {**metadata, **known}}
