"""A compiled model that waits for its proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway_serving.convert.decisions import thresholds_of
from slipway_serving.convert.parity import Parity
from slipway_serving.convert.probes import Probes, make_probes
from slipway_serving.forms.layout import columns_of
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
    max_edges, max_learned
        How many odd rows to compare, see ``make_probes``; fewer where the original is slow.
    inner
        A further comparison, of what the answers are derived from: labels alone would hide a slightly wrong score.
    """

    engine: str
    document: dict[str, Any]
    program: dict[str, Any] | None = None
    max_edges: int = 1000
    max_learned: int = 400
    inner: Callable[[Probes, Parity], None] | None = None

    def save(self, folder: Path) -> None:
        """Write the program, if there is one."""
        if self.program is not None:
            save_program(folder, self.program)

    def probes(self, layout: dict[str, Any], example: list[list[Any]]) -> Probes:
        """Return the rows to compare on."""
        steps = [] if self.program is None else self.program["steps"]
        columns = columns_of(layout)
        return make_probes(
            columns,
            example,
            _known_texts(steps),
            thresholds_of(steps, columns),
            max_edges=self.max_edges,
            max_learned=self.max_learned,
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
