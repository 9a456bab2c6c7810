"""Content-addressed blobs on disk."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CHUNK_BYTES = 1024 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class DigestMismatchError(ValueError):
    """The bytes are not those that the digest promises."""


class UploadUnknownError(KeyError):
    """There is no such upload."""


class UploadRangeError(ValueError):
    """A chunk does not follow the bytes received so far; ``args[0]`` is how many those are."""


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 digest as registries write it."""
    return bool(_DIGEST.fullmatch(text))


class BlobStore:
    """Blobs by digest; nothing is ever held in memory whole.

    Args:
        root: the folder; made when missing. Uploads that a crash interrupted are swept.
    """

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self._uploads = root / "uploads"
        for folder in (self._blobs, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._uploads.iterdir():
            leftover.unlink()
        self._hashes: dict[str, hashlib._Hash] = {}
        self._lock = threading.Lock()

    def path(self, digest: str) -> Path:
        """Where the blob is, or would be."""
        if not is_digest(digest):
            raise ValueError(f"not a sha256 digest: {digest!r}")
        name = digest.removeprefix("sha256:")
        return self._blobs / name[:2] / name

    def size(self, digest: str) -> int | None:
        """Size in bytes; None when there is no such blob."""
        if not is_digest(digest):
            return None
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def start_upload(self) -> str:
        """A new upload's id."""
        upload = str(uuid.uuid4())
        (self._uploads / upload).touch()
        with self._lock:
            self._hashes[upload] = hashlib.sha256()
        return upload

    def append(self, upload: str, source: BinaryIO, length: int, *, start: int | None = None) -> int:
        """Add bytes to an upload.

        Args:
            upload: its id.
            source: where the bytes come from.
            length: how many to read.
            start: the offset that the sender believes it is at.

        Returns:
            Bytes received so far.

        Raises:
            UploadUnknownError: no such upload.
            UploadRangeError: ``start`` is not where the upload ends.
        """
        hasher = self._hasher(upload)
        path = self._uploads / upload
        received = path.stat().st_size
        if start is not None and start != received:
            raise UploadRangeError(received)
        with path.open("ab") as file:
            for chunk in _chunks(source, length):
                hasher.update(chunk)
                file.write(chunk)
            return file.tell()

    def finish(self, upload: str, digest: str) -> int:
        """Turn an upload into a blob.

        Returns:
            The blob's size in bytes.

        Raises:
            UploadUnknownError: no such upload.
            DigestMismatchError: the bytes have another digest; the upload is dropped.
        """
        hasher = self._hasher(upload)
        path = self._uploads / upload
        found = f"sha256:{hasher.hexdigest()}"
        with self._lock:
            self._hashes.pop(upload, None)
        if found != digest:
            path.unlink()
            raise DigestMismatchError(f"expected {digest}, received {found}")
        size = path.stat().st_size
        target = self.path(digest)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
        return size

    def cancel(self, upload: str) -> None:
        """Drop an upload.

        Raises:
            UploadUnknownError: no such upload.
        """
        self._hasher(upload)
        with self._lock:
            self._hashes.pop(upload, None)
        (self._uploads / upload).unlink(missing_ok=True)

    def received(self, upload: str) -> int:
        """Bytes received so far.

        Raises:
            UploadUnknownError: no such upload.
        """
        self._hasher(upload)
        return (self._uploads / upload).stat().st_size

    def put(self, data: bytes) -> str:
        """Keep a small blob; returns its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        target = self.path(digest)
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            draft = target.with_name(f".{target.name}.{os.getpid()}")
            draft.write_bytes(data)
            draft.replace(target)
        return digest

    def sweep(self, used: set[str], *, younger_than: float) -> int:
        """Delete the blobs that are neither in ``used`` nor young.

        Args:
            used: digests.
            younger_than: age in seconds up to which a blob is kept all the same.

        Returns:
            How many bytes that freed.
        """
        freed = 0
        for path in self._blobs.glob("??/*"):
            status = path.stat()
            if f"sha256:{path.name}" not in used and time.time() - status.st_mtime > younger_than:
                freed += status.st_size
                path.unlink()
        return freed

    def _hasher(self, upload: str) -> hashlib._Hash:
        with self._lock:
            hasher = self._hashes.get(upload)
        if hasher is None:
            raise UploadUnknownError(upload)
        return hasher


def _chunks(source: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        chunk = source.read(min(_CHUNK_BYTES, length))
        if not chunk:
            return
        length -= len(chunk)
        yield chunk
