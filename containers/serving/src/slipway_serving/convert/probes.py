"""Rows that put a compiled model to the test: the whole domain of the signature, its edges first of all.

None of them was used for training or compiling: they are drawn from what the signature allows, around the values of the
saved input example, at the learned thresholds and their neighbours, and with categories known and unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Row = list[Any]

_FLOAT_EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-300, 5e-324, 1e6, -1e6, 1e38, 3.5e38, -3.5e38, 1e300, -1.7e308]
_FLOAT_ODD = [None, math.inf, -math.inf]
_INTEGER_EDGES = {
    "long": [0, 1, -1, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, -(2**63), 2**63 - 1],
    "integer": [0, 1, -1, 2**31 - 1, -(2**31)],
}
_TEXTS = ["", " ", "never seen", "néant ☃", "0", "nan", "None", "a" * 300]
MAX_THRESHOLDS = 60


@dataclass(frozen=True)
class Probes:
    """Rows to compare on.

    Parameters
    ----------
    names
        Column names.
    ordinary
        Rows as they come in practice; the compiled model must answer these itself.
    odd
        Rows with one unusual value each; they are compared one at a time, because one of them can fail a whole request.
    """

    names: list[str]
    ordinary: list[Row]
    odd: list[Row] = field(default_factory=list)


def make_probes(
    columns: list[tuple[str, str]],
    example: list[Row],
    known_texts: dict[str, list[str]],
    thresholds: dict[int, np.ndarray],
    *,
    ordinary: int = 400,
    max_odd: int = 400,
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
    ordinary, max_odd
        How many rows.
    seed
        The draw is the same on every machine.
    """
    generator = np.random.default_rng(seed)
    makers = [
        _Column(kind, [row[i] for row in example], known_texts.get(name, []), generator)
        for i, (name, kind) in enumerate(columns)
    ]
    rows = [list(row) for row in example] + [[maker.ordinary() for maker in makers] for _ in range(ordinary)]
    odd: list[Row] = []
    for index, maker in enumerate(makers):
        values = maker.edges()
        for threshold in thresholds.get(index, np.empty(0))[:MAX_THRESHOLDS].tolist():
            values += _around(threshold)
        odd.extend(_with(rows[generator.integers(len(rows))], index, value) for value in values)
    if len(odd) > max_odd:
        chosen = generator.choice(len(odd), size=max_odd, replace=False)
        odd = [odd[at] for at in sorted(chosen.tolist())]
    odd.extend([[maker.any_edge() for maker in makers] for _ in range(20)])
    return Probes([name for name, _ in columns], rows, odd)


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
        self._known = known
        self._generator = generator

    def _pick(self, values: list[Any]) -> Any:
        return values[int(self._generator.integers(len(values)))]

    def ordinary(self) -> Any:
        """Return a value as it comes in practice."""
        if self._kind == "string":
            return self._pick(self._known or [str(value) for value in self._seen] or ["a", "b"])
        if self._kind == "boolean":
            return bool(self._generator.integers(2))
        center = float(self._pick(self._seen)) if self._seen else 0.0
        spread = max(1.0, abs(center)) * float(self._pick([0.0, 0.1, 1.0, 3.0]))
        value = center + spread * float(self._generator.normal())
        if self._kind in _INTEGER_EDGES:
            return int(np.clip(round(value), -(2**31), 2**31 - 1))
        return float(np.float32(value)) if self._kind == "float" else value

    def edges(self) -> list[Any]:
        """Return values at the edges of what the column's type allows."""
        if self._kind == "string":
            return [*_TEXTS, *self._known, None]
        if self._kind == "boolean":
            return [True, False]
        if self._kind in _INTEGER_EDGES:
            return list(_INTEGER_EDGES[self._kind])
        return [*_FLOAT_EDGES, *_FLOAT_ODD]

    def any_edge(self) -> Any:
        """Return one of the edges."""
        return self._pick(self.edges())
