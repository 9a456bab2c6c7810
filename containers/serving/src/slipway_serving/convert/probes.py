"""Rows that put a compiled model to the test: the whole domain of the signature, its edges first of all.

None of them was used for training or compiling: they are drawn from what the signature allows, around the values of the
saved input example, with nulls, at the learned thresholds and their neighbours, and with categories known and unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slipway_serving.forms.batch import FLOATS

Row = list[Any]

_FLOAT_EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 5e-324, 1e6, -1e6, 1e38, 3.5e38, -3.5e38, 1e300, -1.7e308]
_FLOAT_ODD = [None, math.inf, -math.inf]
_LARGEST_MILD = 1e38
_LARGEST_SINGLE = float(np.finfo(np.float32).max)
_JSON_TYPES: dict[str, type] = {"string": str, "boolean": bool, "long": int, "integer": int}
_INTEGER_EDGES = {
    "long": [0, 1, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1],
    "integer": [0, 1, -1, 2**31 - 1, -(2**31)],
}
_TEXTS = ["", " ", "never seen", "néant ☃", "0", "nan", "None", "a" * 300]
MAX_LEARNED = 60
NULL_ROWS = 40
MIXED_ROWS = 20


@dataclass(frozen=True)
class Probes:
    """Rows to compare on.

    Parameters
    ----------
    names
        Column names.
    ordinary
        Rows as they come in practice; the compiled model must answer these itself.
    alone
        Rows with nulls, infinities, several unusual values or a number beyond 32 bits. Both engines are asked about
        them one at a time, because one of them can fail a whole request or change the type of a column.
    in_company
        Rows with one unusual value of its column's own type. The original may be asked about many of them at once.
    """

    names: list[str]
    ordinary: list[Row]
    alone: list[Row] = field(default_factory=list)
    in_company: list[Row] = field(default_factory=list)

    @property
    def odd(self) -> list[Row]:
        """All rows with something unusual."""
        return [*self.alone, *self.in_company]


def make_probes(
    columns: list[tuple[str, str]],
    example: list[Row],
    known_texts: dict[str, list[str]],
    thresholds: dict[int, np.ndarray],
    *,
    ordinary: int = 400,
    max_edges: int = 1000,
    max_learned: int = 400,
    seed: int = 20_250_101,
) -> Probes:
    """Draw the rows.

    Parameters
    ----------
    columns
        ``(name, MLflow type)`` in the signature's order.
    example
        Rows of the saved input example, possibly none.
    known_texts
        Categories that the model knows, by column.
    thresholds
        Numbers at which the model decides, by position in ``columns``.
    ordinary
        How many rows as they come in practice.
    max_edges
        How many rows with an edge of a column's type at most. Nulls and infinities come in any case, for each column.
    max_learned
        How many rows at most with a known category, or at or beside a threshold.
    seed
        The draw is the same on every machine.
    """
    generator = np.random.default_rng(seed)
    makers = [
        _Column(kind, [row[i] for row in example], known_texts.get(name, []), generator)
        for i, (name, kind) in enumerate(columns)
    ]
    rows = [list(row) for row in example] + [[maker.ordinary() for maker in makers] for _ in range(ordinary)]

    def each(values: list[list[Any]]) -> list[Row]:
        """Return a row for each value of each column, with nothing else that is unusual."""
        return [
            _with(rows[generator.integers(len(rows))], at, value)
            for at, column in enumerate(values)
            for value in column
        ]

    alone = each([maker.odd() for maker in makers])
    unusual = _some(each([maker.edges() for maker in makers]), max(0, max_edges - len(alone)), generator)
    learned = [[*_spread(maker.known), *_beside(thresholds.get(at, np.empty(0)))] for at, maker in enumerate(makers)]
    unusual += _some(each(learned), max_learned, generator)
    alone += _with_nulls(columns, rows, generator)
    for _ in range(MIXED_ROWS):
        alone += [[maker.mild_edge() for maker in makers], [maker.any_edge() for maker in makers]]
    kinds = [kind for _, kind in columns]
    in_company = [row for row in unusual if _bears_company(row, kinds)]
    alone += [row for row in unusual if not _bears_company(row, kinds)]
    return Probes([name for name, _ in columns], rows, alone, in_company)


def _bears_company(row: Row, kinds: list[str]) -> bool:
    """Whether all values have their column's own JSON type, and its numbers are finite in 32 bits."""
    return all(
        type(value) is _JSON_TYPES.get(kind, float) and (type(value) is not float or abs(value) <= _LARGEST_SINGLE)
        for value, kind in zip(row, kinds, strict=True)
    )


def _some(rows: list[Row], most: int, generator: np.random.Generator) -> list[Row]:
    """Return all rows, or as many as are wanted at most, drawn evenly."""
    if len(rows) <= most:
        return rows
    chosen = generator.choice(len(rows), size=most, replace=False)
    return [rows[at] for at in sorted(chosen.tolist())]


def _spread(values: Any) -> list[Any]:
    """Return up to ``MAX_LEARNED`` of the values, from the whole of their range."""
    places = np.linspace(0, len(values) - 1, min(len(values), MAX_LEARNED)).round().astype(int)
    return [values[at] for at in places.tolist()]


def _beside(thresholds: np.ndarray) -> list[float]:
    return [value for threshold in _spread(thresholds) for value in _around(float(threshold))]


def _with_nulls(columns: list[tuple[str, str]], rows: list[Row], generator: np.random.Generator) -> list[Row]:
    """Return rows with one null or several, where the signature's types allow nulls."""
    places = [at for at, (_, kind) in enumerate(columns) if kind in FLOATS]
    found: list[Row] = []
    while places and len(found) < NULL_ROWS:
        row = list(rows[generator.integers(len(rows))])
        count = min(len(places), [1, 2, 3, len(places) // 2 + 1][len(found) % 4])
        for at in generator.choice(places, size=count, replace=False):
            row[at] = None
        found.append(row)
    return found


def _with(row: Row, index: int, value: Any) -> Row:
    changed = list(row)
    changed[index] = value
    return changed


def _around(threshold: float) -> list[float]:
    """Return a threshold and its next neighbours among 64-bit and 32-bit floats."""
    single = np.float32(threshold)
    neighbours = [np.nextafter(threshold, math.inf), np.nextafter(threshold, -math.inf)]
    neighbours += [np.nextafter(single, np.float32(math.inf)), np.nextafter(single, np.float32(-math.inf)), single]
    return [threshold, *map(float, neighbours)]


class _Column:
    """Draws values for one column."""

    def __init__(self, kind: str, seen: list[Any], known: list[str], generator: np.random.Generator) -> None:
        self._kind = kind
        self._seen = [value for value in seen if value is not None and value == value]
        self.known = known
        self._generator = generator

    def _pick(self, values: list[Any]) -> Any:
        return values[int(self._generator.integers(len(values)))]

    def ordinary(self) -> Any:
        """Return a value as it comes in practice."""
        if self._kind == "string":
            return self._pick(self.known or [str(value) for value in self._seen] or ["a", "b"])
        if self._kind == "boolean":
            return bool(self._generator.integers(2))
        center = float(self._pick(self._seen)) if self._seen else 0.0
        spread = max(1.0, abs(center)) * float(self._pick([0.0, 0.1, 1.0, 3.0]))
        value = center + spread * float(self._generator.normal())
        if self._kind in _INTEGER_EDGES:
            return int(np.clip(round(value), -(2**31), 2**31 - 1))
        return float(np.float32(value)) if self._kind == "float" else value

    def odd(self) -> list[Any]:
        """Return what is no ordinary value of the column's type: null and infinities."""
        return _FLOAT_ODD if self._kind in FLOATS else [None] if self._kind == "string" else []

    def edges(self) -> list[Any]:
        """Return values at the edges of what the column's type allows."""
        if self._kind == "string":
            return _TEXTS
        if self._kind == "boolean":
            return [True, False]
        return _INTEGER_EDGES.get(self._kind, _FLOAT_EDGES)

    def mild_edge(self) -> Any:
        """Return an edge that most models take: a finite number that 32 bits can hold; of texts, an ordinary one."""
        if self._kind == "string":
            return self.ordinary()
        return self._pick([value for value in self.edges() if abs(value) <= _LARGEST_MILD])

    def any_edge(self) -> Any:
        """Return one of the edges, odd ones and known texts among them."""
        return self._pick([*self.edges(), *self.odd(), *self.known])
