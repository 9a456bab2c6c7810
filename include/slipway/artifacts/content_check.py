"""Whether content is what S3 says of it: by the CRC32 that S3 keeps of many objects, else by the MD5 in the tag.

A CRC32 takes a tenth of the time of an MD5. S3 compares it with what it receives, and keeps it of objects whose
uploader sent it, as boto3 and Slipway do:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from isal import isal_zlib

from slipway.artifacts.content_tag import BLOCK_BYTES, likely_part_sizes, part_count, ranges

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_TAG = re.compile(r"^([0-9a-f]{32})(-[0-9]{1,5})?$")
_CRC32 = re.compile(r"^([A-Za-z0-9+/]{6}==)(?:-([0-9]{1,5}))?$")


class Digest(Protocol):
    """What hashlib's digests have in common with :class:`Crc32`."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """The value for all that was added."""


class Crc32:
    """CRC32 as S3 has it: four bytes, the highest first."""

    def __init__(self, data: bytes = b"") -> None:
        self._value = isal_zlib.crc32(data)

    def update(self, data: bytes, /) -> None:
        """See :class:`Digest`."""
        self._value = isal_zlib.crc32(data, self._value)

    def append(self, other: Crc32, length: int) -> None:
        """Add ``length`` bytes whose own CRC32 is known."""
        self._value = isal_zlib.crc32_combine(self._value, other._value, length)

    def digest(self) -> bytes:
        """See :class:`Digest`."""
        return int(self._value).to_bytes(4, "big")

    def base64(self) -> str:
        """As it stands in a header."""
        return base64.b64encode(self.digest()).decode()


@dataclass(frozen=True)
class Checksum:
    """A checksum of content.

    Args:
        start: makes an empty digest.
        value: of the content, or of the values of its parts, one after the other.
        parts: their number; None where it is of the content as a whole.
    """

    start: Callable[[], Digest]
    value: bytes
    parts: int | None


def kept_checksum(head: HeadObjectOutputTypeDef) -> Checksum | None:
    """The CRC32 that S3 keeps of an object, if it does.

    Args:
        head: the object's description, asked with ``ChecksumMode``.
    """
    found = _CRC32.match(head.get("ChecksumCRC32", ""))
    if not found or not (found[2] or head.get("ChecksumType") == "FULL_OBJECT"):
        return None
    return Checksum(Crc32, base64.b64decode(found[1]), int(found[2]) if found[2] else None)


def tag_checksum(tag: str) -> Checksum | None:
    """The MD5 that a tag is, if it looks like one."""
    found = _TAG.match(tag)
    return Checksum(_md5, bytes.fromhex(found[1]), part_count(tag)) if found else None


class RollingCheck:
    """Compares content that is still growing with a checksum, brought forward as far as the content is there.

    Args:
        size: bytes that there will be.
        expected: the checksum; None: nothing is read, and it never holds.
        split: bytes of each part that the checksum is made of.
    """

    def __init__(self, size: int, expected: Checksum | None, split: Sequence[int]) -> None:
        self._size = size
        self._expected = expected if sum(split) == size else None
        self._ends = list(accumulate(split))
        self._values: list[bytes] = []
        self._digest = expected.start() if expected else None
        self.position = 0
        if size == 0:
            self._close_part()

    def advance(self, descriptor: int, end: int) -> None:
        """Read on up to ``end``."""
        while self._digest and self._expected and self.position < end:
            part_end = self._ends[len(self._values)]
            block = os.pread(descriptor, min(BLOCK_BYTES, end - self.position, part_end - self.position), self.position)
            if not block:
                return
            self._digest.update(block)
            self.position += len(block)
            if self.position == part_end:
                self._close_part()

    def holds(self) -> bool:
        """Whether all was read, and has the checksum."""
        if not self._expected or self.position != self._size:
            return False
        if self._expected.parts is None:
            return self._values == [self._expected.value]
        of_parts = self._expected.start()
        of_parts.update(b"".join(self._values))
        return of_parts.digest() == self._expected.value

    def _close_part(self) -> None:
        if self._expected and self._digest:
            self._values.append(self._digest.digest())
            self._digest = self._expected.start()


def likely_splits(size: int, expected: Checksum) -> list[list[int]]:
    """Bytes of each part, for every usual way in which an object with such a checksum may have been split."""
    if expected.parts is None:
        return [[size]]
    return [even_split(size, part) for part in likely_part_sizes(size, expected.parts)]


def even_split(size: int, part: int) -> list[int]:
    """Bytes of each part, where all but the last have ``part``."""
    return [length for _, length in ranges(size, part)]


def file_holds(path: Path, size: int, expected: Checksum, split: Sequence[int]) -> bool:
    """Whether a file of so many bytes has a checksum that was made of such parts."""
    check = RollingCheck(size, expected, split)
    with path.open("rb", buffering=0) as file:
        check.advance(file.fileno(), size)
    return check.holds()


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)
