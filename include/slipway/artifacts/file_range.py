"""A range of a file as the body of a request, read as it is sent: a part's size does not show in memory."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class FileRange(io.RawIOBase):
    """Bytes ``start`` to ``start + length`` of an open file; can be sent again, beside other ranges of it.

    Args:
        descriptor: of the file; stays the caller's.
        start: first byte.
        length: number of bytes.
        name: of the file, for messages.
    """

    def __init__(self, descriptor: int, start: int, length: int, name: str) -> None:
        self._descriptor, self._start, self._length, self._name = descriptor, start, length, name
        self._position = 0

    def __len__(self) -> int:
        return self._length

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes: what failed is sent again from the beginning."""
        return True

    def tell(self) -> int:
        """Position in the range."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to another position, at most to the end of the range; returns it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        self._position = min(max(origin + offset, 0), self._length)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer as far as the range goes.

        Raises:
            StorageUnavailableError: the file ends before the range does. To send less than was announced would leave
                the server waiting.
        """
        wanted = memoryview(buffer)[: self._length - self._position]
        count = os.preadv(self._descriptor, [wanted], self._start + self._position) if wanted else 0
        if wanted and not count:
            raise StorageUnavailableError(f"{self._name} became shorter while it was copied; run the sync again.")
        self._position += count
        return count
