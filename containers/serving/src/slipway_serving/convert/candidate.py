"""A compiled model that waits for its proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.boundaries import boundary_rows
from slipway_serving.convert.parity import Parity
from slipway_serving.convert.probes import Probes, Row, make_probes
from slipway_serving.forms.layout import columns_of
from slipway_serving.program.program import NUMBERS
from slipway_serving.program.store import save_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Candidate:
    """An engine that may be used if it proves right.

    Parameters
    ----------
    engine
        ``native`` or ``numpy``.
    document
        What ``engine.json`` records beside the choice.
    program
        The compiled program, for ``native``.
    max_odd
        How many odd rows to compare; fewer where the original is slow.
    inner
        A further comparison, of what the answers are derived from: labels alone would hide a slightly wrong score.
    """

    engine: str
    document: dict[str, Any]
    program: dict[str, Any] | None = None
    max_odd: int = 400
    inner: Callable[[Probes, Parity], None] | None = None

    def save(self, folder: Path) -> None:
        """Write the program, if there is one."""
        if self.program is not None:
            save_program(folder, self.program)

    def probes(self, layout: dict[str, Any], example: list[list[Any]]) -> Probes:
        """Return the rows to compare on."""
        steps = [] if self.program is None else self.program["steps"]
        return make_probes(
            columns_of(layout), example, _known_texts(steps), _thresholds(steps, layout), max_odd=self.max_odd
        )


@dataclass(frozen=True)
class Attempt:
    """A way to make a candidate."""

    engine: str
    make: Callable[[], Candidate]

    def __call__(self) -> Candidate:
        """Make it, or raise ``CannotCompileError``."""
        return self.make()


def _known_texts(steps: list[dict[str, Any]]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for step in steps:
        if step["op"] == "lookup_text":
            known.setdefault(step["in"][0].removeprefix("text:"), []).extend(step["keys"])
    return known


def _forests(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the ensembles that look at the request's own numbers."""
    unchanged, found = {NUMBERS}, []
    for step in steps:
        if step["op"] in {"as_float32", "finite"} and step["in"][0] in unchanged:
            unchanged.add(step["out"])
        if step["op"] == "forest" and step["in"][0] in unchanged:
            found.append(step["trees"])
    return found


def _thresholds(steps: list[dict[str, Any]], layout: dict[str, Any]) -> dict[int, np.ndarray]:
    """Return the thresholds of forests that look at the request's own columns, by position in the signature."""
    numeric = [index for index, (_, kind) in enumerate(columns_of(layout)) if kind != "string"]
    found: dict[int, np.ndarray] = {}
    for trees in _forests(steps):
        for feature in np.unique(trees["feature"]).tolist():
            found[numeric[feature]] = np.unique(trees["threshold"][trees["feature"] == feature])
    return found


def split_rows(steps: list[dict[str, Any]], columns: list[tuple[str, str]], rows: list[Row]) -> list[Row]:
    """Return rows at the splits of the program's trees, where these look at columns of 64-bit floats.

    Parameters
    ----------
    steps
        The program's.
    columns
        ``(name, MLflow type)`` in the signature's order.
    rows
        Ordinary rows to start from.
    """
    if not rows or any(kind != "double" for _, kind in columns):
        return []
    base = np.array(rows, dtype=np.float64)
    found: list[Row] = []
    for trees in _forests(steps):
        found += boundary_rows(trees, base).tolist()
    return found
