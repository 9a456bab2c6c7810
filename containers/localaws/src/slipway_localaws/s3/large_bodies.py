"""Large objects without large memory: downloads stream from the file, copies are links.

moto reads a whole object for every range that is asked of it, and again for every copy.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

import moto.s3.models
import moto.s3.responses
from moto.s3.models import FakeKey, S3Backend
from moto.s3.responses import S3Response

from slipway_localaws.patching import replace
from slipway_localaws.persistence.object_bodies import BodyFile
from slipway_localaws.s3.integrity import compute

_CHUNK_BYTES = 1024 * 1024
_mode = threading.local()


class FileSlice:
    """Part of a file that stands where moto expects bytes: it has a length, can be sliced, and yields its bytes.

    Args:
        file: the open file.
        start: where the part begins.
        length: how long it is.
    """

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> FileSlice:
        first, last, _ = part.indices(self._length)
        return FileSlice(self._file, self._start + first, max(0, last - first))

    def __iter__(self) -> Iterator[bytes]:
        position, end = self._start, self._start + self._length
        while position < end:
            chunk = os.pread(self._file.fileno(), min(_CHUNK_BYTES, end - position), position)
            if not chunk:
                return
            position += len(chunk)
            yield chunk


class _LinkedBody:
    """Another object's body: writing it is making a link."""

    def __init__(self, body: BodyFile, size: int) -> None:
        self.body = body
        self._size = size

    def __len__(self) -> int:
        return self._size


class _CopySource:
    """A key whose value is a link to its file."""

    def __init__(self, key: FakeKey) -> None:
        self._key = key

    @property
    def value(self) -> _LinkedBody:
        return _LinkedBody(self._key._value_buffer, self._key.size)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._key, name)


def install() -> None:
    """Let moto stream downloads, link copies, and compute checksums right."""
    _install_downloads()
    _install_copies()
    for module in (moto.s3.models, moto.s3.responses):
        original = module.compute_checksum
        replace(module, "compute_checksum", _checksum_like(original))
    replace(S3Response, "_handle_encoded_body", _decode_chunks)


def _install_downloads() -> None:
    get_object = S3Response.get_object
    read_value = FakeKey.value.fget  # type: ignore[attr-defined]

    def get_streamed(self: S3Response) -> Any:
        _mode.streaming = True
        try:
            return get_object(self)
        finally:
            _mode.streaming = False

    def value(self: FakeKey) -> Any:
        if getattr(_mode, "streaming", False):
            return FileSlice(self._value_buffer.path.open("rb"), 0, self.size)  # type: ignore[attr-defined]
        return read_value(self)

    replace(S3Response, "get_object", get_streamed)
    FakeKey.value = FakeKey.value.getter(value)  # type: ignore[attr-defined,method-assign]


def _install_copies() -> None:
    copy_object = S3Backend.copy_object
    write = BodyFile.write

    def copy_linked(self: S3Backend, src_key: FakeKey, *args: Any, **kwargs: Any) -> None:
        copy_object(self, _CopySource(src_key), *args, **kwargs)  # type: ignore[arg-type]

    def write_or_link(self: BodyFile, data: Any) -> None:
        if not isinstance(data, _LinkedBody):
            write(self, data)
            return
        self.path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        os.utime(data.body.path)  # a link has its file's age, and the old are swept when no saved object names them
        os.link(data.body.path, self.path)

    replace(S3Backend, "copy_object", copy_linked)
    replace(BodyFile, "write", write_or_link)


def _checksum_like(original: Any) -> Any:
    """moto falls back to CRC32 where a library is missing, and calls the result CRC32C or CRC64NVME."""

    def compute_checksum(body: bytes, algorithm: str, encode_base64: bool = True) -> bytes:
        try:
            encoded = compute(algorithm, body).encode()
        except KeyError:
            checksum: bytes = original(body, algorithm, encode_base64)
            return checksum
        return encoded if encode_base64 else base64.b64decode(encoded)

    return compute_checksum


def _decode_chunks(_: S3Response, body: Any) -> bytes:
    """The content of an ``aws-chunked`` body.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
    """
    if not body:
        return b""
    data = body if isinstance(body, bytes) else body.read()
    parts: list[bytes] = []
    place = 0
    while True:
        end = data.index(b"\r\n", place)
        length = int(data[place:end].split(b";")[0], 16)
        if length == 0:
            return b"".join(parts)
        parts.append(data[end + 2 : end + 2 + length])
        place = end + 2 + length + 2
