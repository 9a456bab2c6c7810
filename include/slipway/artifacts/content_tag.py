"""The tag that S3 gives to content: the MD5 of an object put in one piece, or the MD5 of its parts' MD5s.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html (ETag). MD5 serves to recognise equal content here, not
to protect against somebody who makes collisions.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

MEBIBYTE = 1 << 20
# As boto3 and the AWS CLI have them, so that content which they uploaded gets the same tag from us.
MULTIPART_BYTES = 8 * MEBIBYTE  # from here on an object goes in parts
_MOST_PARTS = 10_000
BLOCK_BYTES = MEBIBYTE // 4  # sixteen threads hold one each
_MULTIPART = re.compile(r"^[0-9a-f]{32}-([0-9]{1,5})$")
_SINGLE = re.compile(r"^[0-9a-f]{32}$")
# Part sizes of other common clients: rclone 5, s5cmd 50, then round numbers that people set.
_USUAL_PARTS = tuple(size * MEBIBYTE for size in (8, 5, 50, 10, 15, 16, 20, 25, 32, 64, 100, 128, 256, 512))


def part_size(size: int) -> int:
    """Bytes per part for an upload of ``size`` bytes: 8 MiB, doubled until S3's limit of 10,000 parts is kept."""
    part = MULTIPART_BYTES
    while part * _MOST_PARTS < size:
        part *= 2
    return part


def ranges(size: int, part: int) -> list[tuple[int, int]]:
    """Start and length of each part."""
    return [(start, min(part, size - start)) for start in range(0, size, part)]


def part_count(tag: str) -> int | None:
    """Number of parts that a tag speaks of; None for an object put in one piece."""
    match = _MULTIPART.match(tag)
    return int(match[1]) if match else None


def file_tag(path: Path, size: int) -> str:
    """The tag that this file gets when it is uploaded in parts of ``part_size``."""
    with path.open("rb", buffering=0) as file:
        if size < MULTIPART_BYTES:
            return range_digest(file.fileno(), 0, size).hex()
        return combine(range_digest(file.fileno(), *span) for span in ranges(size, part_size(size)))


def file_has_tag(path: Path, size: int, tag: str) -> bool:
    """Whether a file's content is known to have a tag, whatever usual split into parts it was made with."""
    parts = part_count(tag)
    with path.open("rb", buffering=0) as file:
        if parts is None:
            return bool(_SINGLE.match(tag)) and range_digest(file.fileno(), 0, size).hex() == tag
        return any(
            combine(range_digest(file.fileno(), *span) for span in ranges(size, part)) == tag
            for part in likely_part_sizes(size, parts)
        )


def likely_part_sizes(size: int, parts: int) -> list[int]:
    """Part sizes that split ``size`` bytes into that many parts, the usual ones first."""
    even = -(-size // parts)
    rounded = -(-even // MEBIBYTE) * MEBIBYTE
    return [
        part for part in dict.fromkeys((part_size(size), *_USUAL_PARTS, rounded)) if len(ranges(size, part)) == parts
    ]


def combine(part_digests: Iterable[bytes]) -> str:
    """The tag of an object from the MD5s of its parts."""
    digests = list(part_digests)
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def content_digest(data: bytes) -> bytes:
    """MD5 of bytes at hand."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def range_digest(descriptor: int, start: int, length: int) -> bytes:
    """MD5 of a range of an open file."""
    digest = hashlib.md5(usedforsecurity=False)
    for block in range_blocks(descriptor, start, length):
        digest.update(block)
    return digest.digest()


def range_blocks(descriptor: int, start: int, length: int) -> Iterator[bytes]:
    """The bytes of a range of an open file, as far as the file goes, in blocks."""
    end = start + length
    while start < end:
        block = os.pread(descriptor, min(BLOCK_BYTES, end - start), start)
        if not block:
            return
        yield block
        start += len(block)
