"""Lines of a stream, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

_READ_BYTES = 1 << 20
#: SageMaker's largest real-time payload is 25 MB; request and answer together in base64 stay below this.
MAX_LINE_BYTES = 80 << 20


class ByteStream(Protocol):
    """A file, or the body of an S3 answer."""

    def read(self, amount: int, /) -> bytes:
        """Return at most ``amount`` bytes; none at the end."""


def lines_of(stream: ByteStream) -> Iterator[bytes | None]:
    """Yield each line that is not empty, without its end; None in place of one that is longer than any record."""
    rest = b""
    overlong = False
    while chunk := stream.read(_READ_BYTES):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if overlong:
                overlong = False
                yield None
            elif line.strip():
                yield line
        if len(rest) > MAX_LINE_BYTES or overlong:
            overlong, rest = True, b""
    if overlong:
        yield None
    elif rest.strip():
        yield rest
