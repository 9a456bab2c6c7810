"""From S3 to a local file: put together aside, checked, then put in place at once.

A big object comes in pieces; those that are done are noted beside the data, so that an interrupted download goes on
where it stopped.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.artifacts.bucket import Bucket, clean_tag, content_tag, is_encrypted
from slipway.artifacts.content_check import (
    Checksum,
    RollingCheck,
    even_split,
    file_holds,
    kept_checksum,
    likely_splits,
    tag_checksum,
)
from slipway.artifacts.content_tag import MEBIBYTE, ranges
from slipway.artifacts.local_folder import LocalFolder
from slipway.artifacts.sync_plan import Entry
from slipway.artifacts.work import Work, patiently
from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    from obstore.store import S3Store

_PIECE = 32 * MEBIBYTE
_BLOCK = 1 * MEBIBYTE  # what is not larger is fetched in one answer, held in memory
# More at a time only get into each other's way: receiving, checking and writing take processor time.
_at_once = threading.BoundedSemaphore(4 * (os.cpu_count() or 1))
Report = Callable[[int, int], None]  # told how many bytes and how many files were done


class Download:
    """One object on its way to one file.

    Args:
        bucket: where it comes from.
        entry: which object, as it was listed; another version of it is refused.
        folder: where it goes to.
        report: told the bytes after each piece, and when the file is done.
    """

    def __init__(self, bucket: Bucket, entry: Entry, folder: LocalFolder, report: Report) -> None:
        self._bucket = bucket
        self._entry = entry
        self._folder = folder
        self._report = report
        self._lock = threading.Lock()
        self._left = 0
        self._ready: set[int] = set()  # starts of the pieces that are there
        self._expected: Checksum | None = None
        self._split: Sequence[int] = ()  # bytes of the parts that the checksum is made of
        self._rolling = RollingCheck(entry.size, None, ())
        self._rolls = threading.Lock()
        # The kernel lets one thread at a time write to a file, and keeps the cores of those busy that wait for it.
        self._writes = threading.Lock()
        self._trusts_earlier_runs = True
        self._part = self._done = Path()

    def start(self) -> Iterable[Work] | None:
        """Fetch a small object, or prepare the pieces of a big one."""
        self._part, self._done = self._folder.partial(self._entry.path)
        if self._entry.size <= _PIECE:
            patiently(self._fetch_whole)
            self._report(self._entry.size, 1)
            return None
        self._expected = self._checksum()
        if self._expected:
            likely = likely_splits(self._entry.size, self._expected)
            self._split = next(chain(self._told_splits(self._expected), likely), ())
        return self._pieces()

    def _checksum(self) -> Checksum | None:
        head = self._bucket.head(self._entry.path, checksums=True)
        is_listed = clean_tag(head["ETag"]) == self._entry.tag
        return (kept_checksum(head) if is_listed else None) or tag_checksum(self._entry.tag or "")

    def _pieces(self) -> list[Work]:
        missing = self._missing()
        self._left = len(missing)
        return [partial(self._piece, *span) for span in missing] or [self._finish]

    def _fetch_whole(self) -> None:
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
        try:
            self._fetch(descriptor, 0, self._entry.size)
        finally:
            os.close(descriptor)
        by_tag = tag_checksum(self._entry.tag or "")
        self._place(checked=by_tag is not None and self._holds(by_tag, likely_splits(self._entry.size, by_tag)))

    def _missing(self) -> list[tuple[int, int]]:
        """The pieces that are not there yet; notes of another version of the object are thrown away."""
        header = json.dumps([self._entry.tag, self._entry.size, _PIECE])
        noted = self._done.read_text().splitlines() if self._done.exists() and self._part.exists() else []
        if not noted or noted[0] != header or self._part.stat().st_size != self._entry.size:
            self._part.unlink(missing_ok=True)
            with self._part.open("wb") as file:
                file.truncate(self._entry.size)
            self._done.write_text(header + "\n")
            noted = []
        self._ready = {int(line) for line in noted[1:] if line.isdigit()}
        self._rolling = RollingCheck(self._entry.size, self._expected, self._split)
        spans = ranges(self._entry.size, _PIECE)
        self._report(sum(length for start, length in spans if start in self._ready), 0)
        return [span for span in spans if span[0] not in self._ready]

    def _piece(self, start: int, length: int) -> Iterable[Work] | None:
        descriptor = os.open(self._part, os.O_RDWR | os.O_NOFOLLOW)
        try:
            with _at_once:
                patiently(lambda: self._fetch(descriptor, start, length))
            self._report(length, 0)
            with self._lock:
                with self._done.open("a") as notes:
                    notes.write(f"{start}\n")
                self._ready.add(start)
                self._left -= 1
                last = self._left == 0
            if self._rolls.acquire(blocking=last):  # whoever finds it free brings the checksum forward
                self._roll(descriptor)
                self._rolls.release()
        finally:
            os.close(descriptor)
        return [self._finish] if last else None

    def _roll(self, descriptor: int) -> None:
        while self._rolling.position in self._ready:
            before = self._rolling.position
            self._rolling.advance(descriptor, min(before + _PIECE, self._entry.size))
            if self._rolling.position == before:
                return

    def _finish(self) -> Iterable[Work] | None:
        with self._part.open("rb") as file:
            self._roll(file.fileno())
        try:
            self._place(checked=self._rolling.holds())
        except StorageUnavailableError:
            if not self._trusts_earlier_runs:
                raise
            self._trusts_earlier_runs = False  # perhaps one of their pieces is bad: all of them again, once
            self._report(-self._entry.size, 0)
            return self._pieces()
        self._report(0, 1)
        return None

    def _place(self, *, checked: bool) -> None:
        size, tag = self._entry.size, self._entry.tag or ""
        if self._part.stat().st_size != size or not (checked or self._passes_otherwise()):
            self._part.unlink(missing_ok=True)
            self._done.unlink(missing_ok=True)
            raise StorageUnavailableError(
                f"{self._bucket.location}{self._entry.path} arrived damaged: its content has not the checksum {tag}. "
                "It was thrown away; run the sync again."
            )
        self._folder.finish(self._entry.path, self._part, tag)
        self._done.unlink(missing_ok=True)

    def _passes_otherwise(self) -> bool:
        """Whether content that the tag does not confirm is right all the same, or S3 has nothing to compare it with."""
        head = self._bucket.head(self._entry.path, checksums=True)
        kept, noted = kept_checksum(head), tag_checksum(content_tag(head))
        if not kept and is_encrypted(head):
            # What is noted is the tag of another object, whose parts nobody knows any more.
            return noted is None or noted.parts is not None or self._holds(noted, [[self._entry.size]])
        expected = kept or noted
        if not expected:
            return True
        is_told = False
        for split in self._told_splits(expected):
            is_told = True
            if self._holds(expected, [split]):
                return True
        return not is_told

    def _told_splits(self, expected: Checksum) -> Iterator[Sequence[int]]:
        """Bytes of each part as S3 tells them: first as if all were as long as the first, then as each of them is."""
        size, path = self._entry.size, self._entry.path
        if expected.parts is None:
            yield [size]
            return
        first = self._bucket.part_bytes(path, 1)
        if not first:
            return
        even = even_split(size, first)
        if len(even) == expected.parts:
            yield even
        told = [first, *(self._bucket.part_bytes(path, number) or 0 for number in range(2, expected.parts + 1))]
        if told != even:
            yield told

    def _holds(self, expected: Checksum, splits: Iterable[Sequence[int]]) -> bool:
        return any(file_holds(self._part, self._entry.size, expected, split) for split in splits)

    def _fetch(self, descriptor: int, start: int, length: int) -> None:
        if length == self._entry.size and self._bucket.fast(lambda store: self._fetch_fast(store, descriptor)):
            return
        span = {} if length == self._entry.size else {"Range": f"bytes={start}-{start + length - 1}"}
        with self._bucket.call(f"read {self._bucket.location}{self._entry.path}"):
            answer = self._bucket.client.get_object(
                Bucket=self._bucket.name,
                Key=self._bucket.key(self._entry.path),
                IfMatch=f'"{self._entry.tag}"',
                **span,  # type: ignore[arg-type]
            )
            for block in answer["Body"].iter_chunks(_BLOCK):
                start += self._write(descriptor, block, start)

    def _fetch_fast(self, store: S3Store, descriptor: int) -> bool:
        import obstore

        start = 0
        result = obstore.get(store, self._bucket.key(self._entry.path), options={"if_match": f'"{self._entry.tag}"'})
        for block in (result.bytes(),) if self._entry.size <= _BLOCK else result.stream(min_chunk_size=_BLOCK):
            start += self._write(descriptor, block, start)
        return True

    def _write(self, descriptor: int, block: object, start: int) -> int:
        view = memoryview(block)  # type: ignore[arg-type]
        written = 0
        with self._writes:
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], start + written)
        return written
