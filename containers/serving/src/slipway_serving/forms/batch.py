"""Rows of one request, and the columns that a model's signature asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.message import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

FLOATS = {"double", "float"}
INTEGERS = {"long": (-(2**63), 2**63 - 1), "integer": (-(2**31), 2**31 - 1)}
EXACT_INTEGER = 2.0**53


class NotCoveredError(Exception):
    """The fast path does not cover this; the caller asks MLflow's own code instead."""


@dataclass(frozen=True)
class Batch:
    """The rows of one request.

    Parameters
    ----------
    size
        Number of rows, at least 1.
    numbers
        Matrix of 64-bit floats, one column for each numeric or boolean column of the signature, in its order.
    texts
        Values of the string columns by name; null only in what MLflow's own parser has read.
    """

    size: int
    numbers: np.ndarray
    texts: Mapping[str, Sequence[str | None]]


class Layout:
    """The input side of a signature: which columns there are and how their values become a ``Batch``.

    Parameters
    ----------
    columns
        ``(name, type)`` in the signature's order; types are MLflow's ``boolean``, ``integer``, ``long``, ``float``,
        ``double``, ``string``.
    optional
        Names of the columns that a request may leave out.
    """

    def __init__(self, columns: list[tuple[str, str]], optional: frozenset[str] = frozenset()) -> None:
        self.columns = columns
        self._optional = optional
        self.names = [name for name, _ in columns]
        self.name_set = frozenset(self.names)
        self.text_at = [(index, name) for index, (name, kind) in enumerate(columns) if kind == "string"]
        self.number_at = [index for index, (_, kind) in enumerate(columns) if kind != "string"]
        self.number_names = [self.names[index] for index in self.number_at]
        kinds = [columns[index][1] for index in self.number_at]
        self._singles = [index for index, kind in enumerate(kinds) if kind == "float"]
        self._integers = [(index, *INTEGERS[kind]) for index, kind in enumerate(kinds) if kind in INTEGERS]

    def check_present(self, names: Collection[str]) -> None:
        """Refuse rows that lack a column which the signature requires; a missing optional one is not covered."""
        missing = [name for name in self.names if name not in names]
        required = [name for name in missing if name not in self._optional]
        if required:
            raise RequestError(f"Model is missing inputs {required}.", code="INVALID_PARAMETER_VALUE")
        if missing:
            raise NotCoveredError(f"optional columns {missing} are missing")

    def finish(self, numbers: np.ndarray, texts: dict[str, list[str]]) -> Batch:
        """Apply the column types to a matrix of 64-bit floats, as MLflow's casts would.

        Whole-number columns drop the fraction, 32-bit columns round. Values where 64-bit floats are not exact enough
        to do so, and nulls where MLflow refuses them, are not covered.
        """
        for index, low, high in self._integers:
            column = numbers[:, index]
            # Written so that NaN fails the comparison.
            if not (np.abs(column) <= EXACT_INTEGER).all():
                raise NotCoveredError("a whole number that is null or beyond 2**53")
            np.trunc(column, out=column)
            if column.min() < low or column.max() > high:
                raise NotCoveredError("a whole number beyond its type")
        for index in self._singles:
            column = numbers[:, index]
            if (np.abs(column) > EXACT_INTEGER).any():
                raise NotCoveredError("a number beyond 2**53 in a column of 32-bit floats")
            numbers[:, index] = column.astype(np.float32)
        return Batch(len(numbers), numbers, texts)


def columns_to_batch(layout: Layout, take: Callable[[int, str], list[Any]], size: int) -> Batch:
    """Build a batch column by column, checking each value's kind.

    Parameters
    ----------
    layout
        The signature's columns.
    take
        ``take(index, name) -> list`` returns the values of one column.
    size
        Number of rows.
    """
    numbers = np.empty((size, len(layout.number_at)))
    for position, index in enumerate(layout.number_at):
        name, kind = layout.columns[index]
        values = take(index, name)
        kinds = set(map(type, values))
        allowed = {bool} if kind == "boolean" else {int, float, type(None)} if kind in FLOATS else {int, float}
        if not kinds <= allowed:
            raise NotCoveredError(f"column {name!r} holds {', '.join(sorted(kind.__name__ for kind in kinds))}")
        try:
            numbers[:, position] = values
        except (ValueError, TypeError, OverflowError) as error:
            raise NotCoveredError(str(error)) from None
    texts = {}
    for index, name in layout.text_at:
        texts[name] = values = take(index, name)
        if set(map(type, values)) != {str}:
            raise NotCoveredError(f"string column {name!r} holds something else")
    return layout.finish(numbers, texts)
