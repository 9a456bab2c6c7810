"""Which rows of a table have not been read before, although some appear late and many share one watermark value.

Everything from the last mark's floor on is read again; what was there last time is recognised by a digest of its
content. Digests are counted, for two equal rows are two rows. A row that is changed in place within that range has
another digest and is new again, as an overwritten object is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Sequence[Any]
DIGEST_BYTES = 16


@dataclass
class FreshRows:
    """Tells new rows from known ones while a table is read once.

    Args:
        columns: Names of the columns, in the order of each row.
        watermark_column: The one that only grows.
        through: Highest value that was read before; None at first.
        known: Digests of the rows from the last floor on, as they were read before.
        known_columns: Names of the columns that these digests are of.
        floor: Rows from this value on are remembered for the next time.
    """

    columns: Sequence[str]
    watermark_column: str
    through: Any
    known: Counter[bytes]
    known_columns: Sequence[str]
    floor: Any
    remembered: Counter[bytes] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        names = {name.lower(): number for number, name in enumerate(self.columns)}
        self._mark = names[self.watermark_column.lower()]
        self._left = Counter(self.known)
        places = [names.get(name.lower()) for name in self.known_columns]
        #: None: a column that the digests are of is gone, so nothing can be recognised by them.
        self._places = None if None in places else [place for place in places if place is not None]

    @property
    def is_comparable(self) -> bool:
        """Whether rows can be compared with those that were read before; else only higher values count as new."""
        return self._places is not None

    def choose(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows that are new, and remember what the next reading has to recognise."""
        for row in rows:
            value = row[self._mark]
            if value >= self.floor:
                self.remembered[digest(row)] += 1
            if self._is_new(row, value):
                yield row

    def _is_new(self, row: Row, value: Any) -> bool:
        if self.through is None or value > self.through:
            return True
        if self._places is None:
            return False
        seen = digest([row[place] for place in self._places])
        if self._left[seen]:
            self._left[seen] -= 1
            return False
        return True


def digest(row: Row) -> bytes:
    """What recognises a row: BLAKE2b of its values' text forms."""
    plain = tuple(bytes(each) if isinstance(each, memoryview | bytearray) else each for each in row)
    return hashlib.blake2b(repr(plain).encode(), digest_size=DIGEST_BYTES).digest()


def pack(digests: Counter[bytes]) -> bytes:
    """Counted digests as bytes, the same for the same digests."""
    return b"".join(sorted(digests.elements()))


def unpack(body: bytes) -> Counter[bytes]:
    """Read :func:`pack`'s form."""
    return Counter(body[place : place + DIGEST_BYTES] for place in range(0, len(body), DIGEST_BYTES))
