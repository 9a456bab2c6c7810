"""Files that hold other files: compressed ones and archives, opened without trusting what they say about themselves."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from slipway.errors import StorageUnavailableError

HEAD_BYTES = tarfile.BLOCKSIZE  # the least that tells every kind apart
INFLATED_LIMIT_BYTES = 8 << 30  # more than this from one file is a bomb, not a model
MEMBERS_LIMIT = 100_000
_CHUNK_BYTES = 1 << 20
_ZIP = b"PK\x03\x04"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_LZMA_ALONE = b"\x5d\x00"
# 7z needs a package under the LGPL, RAR a program; zstd has none before Python 3.14; "ZF0x" is joblib's before 0.9.3.
_CLOSED = (b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd", b"ZF0x")
_PACKED_SUFFIXES = frozenset({".gz", ".bz2", ".xz", ".lzma", ".lz4", ".z", ".zlib"})
_ENCRYPTED = 0x1  # bit of a zip member's flags


class WrappingError(Exception):
    """What a file holds cannot be seen, or not all of it."""


class Allowance:
    """How much one file may turn into, whatever is in it.

    Args:
        folder: where what is inflated may lie meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bytes, self._members = INFLATED_LIMIT_BYTES, MEMBERS_LIMIT

    def spend(self, size_bytes: int) -> None:
        """Take what was, or is to be, read.

        Raises:
            WrappingError: it is more than one file may turn into.
        """
        self._bytes -= size_bytes
        if self._bytes < 0:
            raise WrappingError(f"more than {INFLATED_LIMIT_BYTES} bytes")

    def spend_member(self) -> None:
        """Take one member of an archive.

        Raises:
            WrappingError: there are more than one file may hold.
        """
        self._members -= 1
        if self._members < 0:
            raise WrappingError(f"more than {MEMBERS_LIMIT} members")


@dataclass(frozen=True)
class Member:
    """A file in an archive. PyTorch reads one that says it is encrypted as if it were not."""

    name: str
    size_bytes: int
    open: Callable[[], IO[bytes]]
    is_encrypted: bool = False


@dataclass(frozen=True)
class Compressed:
    """How to read a compressed file; two bytes say it, so it may be chance, when it is not ``is_certain``."""

    open: Callable[[IO[bytes]], Any]
    is_certain: bool


def is_closed(head: bytes) -> bool:
    """Say whether a file begins like one of the kinds that cannot be opened here."""
    return head.startswith(_CLOSED)


def begins_wrapped(head: bytes) -> bool:
    """Say whether a file begins like a compressed one or an archive, of whatever kind."""
    return is_closed(head) or compression(head) is not None or is_certain_zip(head) or is_tar(head)


def compression(head: bytes) -> Compressed | None:
    """Return how to inflate a file that begins with ``head``, None for any that is not compressed.

    joblib writes gzip, bz2, xz, the older lzma, lz4 and zlib, and goes by the same bytes when it loads.
    """
    certain: dict[bytes, Callable[[IO[bytes]], Any]] = {
        b"\x1f\x8b\x08": gzip.open,
        b"BZh": bz2.open,
        b"\xfd7zXZ": lzma.open,
        b"\x04\x22\x4d\x18": _open_lz4,
    }
    for magic, opener in certain.items():
        if head.startswith(magic):
            return Compressed(opener, is_certain=True)
    if head.startswith(_LZMA_ALONE):
        return Compressed(lambda file: lzma.open(file, format=lzma.FORMAT_ALONE), is_certain=False)
    return Compressed(_ZlibFile, is_certain=False) if head.startswith(_ZLIB) else None


def inflated_name(name: str) -> str:
    """Return the name of what is in a compressed file: ``model.pkl`` for ``model.pkl.gz``, else the same."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _PACKED_SUFFIXES else name


@contextmanager
def inflated(file: IO[bytes], how: Compressed, allowance: Allowance) -> Iterator[tuple[IO[bytes], bool]]:
    """Inflate a file onto disk; yields the content and whether that is all of it.

    Raises:
        WrappingError: it is more than one file may turn into.
        StorageUnavailableError: the disk does not take it.
    """
    with _disk_errors(allowance.folder):
        content = cast("IO[bytes]", tempfile.TemporaryFile(dir=allowance.folder))  # noqa: SIM115  # see below
    try:
        yield content, _inflate(file, how, allowance, content)
    finally:
        with suppress(OSError):  # a full disk refuses once more what is still in the buffer
            content.close()


def _inflate(file: IO[bytes], how: Compressed, allowance: Allowance, content: IO[bytes]) -> bool:
    """Write out what a file holds, up to where it is damaged; returns whether that is all."""
    stream = None
    while True:
        try:
            stream = stream or how.open(file)
            chunk = stream.read(_CHUNK_BYTES)
        except Exception:  # noqa: BLE001  # five libraries raise a dozen kinds over damaged files
            is_whole = False
            break
        if not chunk:
            is_whole = True
            break
        allowance.spend(len(chunk))
        with _disk_errors(allowance.folder):
            content.write(chunk)
    with _disk_errors(allowance.folder):
        content.seek(0)
    return is_whole


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say what this machine's disk refuses: it says nothing about the model."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError(
            f"no room to look into a compressed file of the model: {folder}: {error.strerror or error}. Make room there"
        ) from error


def is_zip(file: IO[bytes], head: bytes) -> bool:
    """Say whether a file is a zip archive, be it after something else."""
    if is_certain_zip(head):
        return True
    if isinstance(file, zipfile.ZipExtFile):  # going to its end would inflate every member
        return False
    found = zipfile.is_zipfile(file)
    file.seek(0)
    return found


def is_certain_zip(head: bytes) -> bool:
    """Say whether a file begins as zip archives do."""
    return head.startswith(_ZIP)


def is_tar(head: bytes) -> bool:
    """Say whether a file begins with a tar header, old ones without a magic number included."""
    try:
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """List a zip archive; picklescan's reader forgives what PyTorch's forgives."""
    from picklescan.relaxed_zipfile import RelaxedZipFile  # type: ignore[import-untyped]

    with RelaxedZipFile(file, "r") as archive:
        for info in archive.infolist():
            if not info.is_dir():
                is_encrypted = bool(info.flag_bits & _ENCRYPTED)
                yield Member(info.filename, info.file_size, partial(archive.open, info), is_encrypted)


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """List the files of a tar archive."""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            if info.isreg():
                yield Member(info.name, info.size, cast("Callable[[], IO[bytes]]", partial(archive.extractfile, info)))


@contextmanager
def seekable(file: IO[bytes], allowance: Allowance) -> Iterator[IO[bytes]]:
    """Give a file in which going back costs nothing: a member of a zip archive is inflated anew for that."""
    if not isinstance(file, zipfile.ZipExtFile):
        yield file
        return
    with inflated(file, Compressed(lambda same: same, is_certain=True), allowance) as (content, is_whole):
        if not is_whole:
            raise WrappingError("a member of a zip archive is damaged")
        yield content


def _open_lz4(file: IO[bytes]) -> Any:
    return importlib.import_module("lz4.frame").open(file)  # not required: without it such files are not readable


class _ZlibFile:
    """A zlib stream, or several in a row, readable in pieces."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._inflate = file, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        data = b""
        while not data:
            waiting = self._inflate.unconsumed_tail or self._inflate.unused_data or self._file.read(size)
            if self._inflate.eof:
                if not waiting:
                    return b""
                self._inflate = zlib.decompressobj()  # joblib goes on with the next stream, too
            elif not waiting:
                raise EOFError("the zlib stream is cut short")
            data = self._inflate.decompress(waiting, size)
        return data
