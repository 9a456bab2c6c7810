"""How far a table has been read: one value of its watermark column, and what may still appear below it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from slipway.errors import InvalidInputError

Kind = Literal["integer", "decimal", "float", "time", "date", "text"]

_ISO_TEXT = re.compile(r"(\d{4}-\d\d-\d\d)(?:([T ])(\d\d:\d\d(?::\d\d)?).*)?", re.DOTALL)
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Mark:
    """A value of the watermark column.

    Args:
        kind: What it is; the same text means different things as a number and as a time.
        text: The value; :attr:`value` is the way back.
    """

    kind: Kind
    text: str

    @classmethod
    def of(cls, value: Any) -> Mark:
        """Keep a value as a database or Spark gives it.

        Raises:
            InvalidInputError: It is nothing that grows, such as a truth value or bytes.
        """
        kinds: tuple[tuple[type, Kind], ...] = (
            (int, "integer"),
            (Decimal, "decimal"),
            (float, "float"),
            (datetime, "time"),
            (date, "date"),
            (str, "text"),
        )
        if not isinstance(value, bool):
            for type_, kind in kinds:
                if isinstance(value, type_):
                    text = value.isoformat() if isinstance(value, date) else repr(value) if kind == "float" else value
                    return cls(kind, str(text))
        raise InvalidInputError(
            f"the watermark column holds {type(value).__name__} values; expected numbers, times, dates or texts that "
            "only grow"
        )

    @property
    def value(self) -> Any:
        """The value, to be compared with the column."""
        readers: dict[Kind, Any] = {
            "integer": int,
            "decimal": Decimal,
            "float": float,
            "time": datetime.fromisoformat,
            "date": date.fromisoformat,
            "text": str,
        }
        return readers[self.kind](self.text)

    def floor(self, late_within: float) -> Mark:
        """The lowest value at which a row may still appear.

        A transaction takes its time or its number before it commits, so rows appear below values that were seen. A text
        is moved back when it is an ISO 8601 time, which as text sorts like the time that it says; any other is not.

        Args:
            late_within: Seconds of a column of times, units of a column of numbers.
        """
        found = self.value
        if self.kind == "integer":
            return Mark.of(found - math.ceil(late_within))
        if self.kind == "decimal":
            return Mark.of(found - Decimal(str(late_within)))
        if self.kind == "float":
            return Mark.of(found - late_within)
        if self.kind == "time":
            return Mark.of(found - timedelta(seconds=late_within))
        if self.kind == "date":
            return Mark.of(found - timedelta(days=math.ceil(late_within / _DAY_SECONDS)))
        return Mark("text", _earlier_text(self.text, late_within))

    def to_document(self) -> dict[str, str]:
        """The JSON form."""
        return {"kind": self.kind, "value": self.text}

    @classmethod
    def from_document(cls, found: Mapping[str, str]) -> Mark:
        """Read the JSON form."""
        return cls(found["kind"], found["value"])  # type: ignore[arg-type]


def _earlier_text(text: str, seconds: float) -> str:
    """An ISO time some seconds earlier, cut to whole seconds: a prefix sorts before what it is a prefix of."""
    found = _ISO_TEXT.fullmatch(text)
    if found is None or not seconds:
        return text
    day, separator, clock = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day} {clock or '00:00:00'}") - timedelta(seconds=math.ceil(seconds))
    except (ValueError, OverflowError):
        return text
    if clock is None:
        return moment.date().isoformat()
    whole = "%H:%M:%S" if clock.count(":") == 2 else "%H:%M"
    return moment.strftime(f"%Y-%m-%d{separator}{whole}")
