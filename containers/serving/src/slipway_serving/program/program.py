"""Running a program: each step reads registers and writes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.program import operations  # noqa: F401 - registers them
from slipway_serving.program.registry import OPERATIONS, ROW_FILTERS

if TYPE_CHECKING:
    from slipway_serving.forms.batch import Batch

NUMBERS = "numbers"


def text_register(column: str) -> str:
    """Return the register that holds a string column of the request."""
    return f"text:{column}"


class Program:
    """A compiled model, ready to score.

    Parameters
    ----------
    document
        ``{"steps": [{"op", "in", "out", …}], "output": register}``, see ``operations``.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._steps = [
            (OPERATIONS[step["op"]](step), tuple(step["in"]), None if step["op"] in ROW_FILTERS else step["out"])
            for step in document["steps"]
        ]
        self.output: str = document["output"]

    def score(self, batch: Batch) -> Any:
        """Return the predictions of all rows.

        Raises
        ------
        NotCoveredError
            A row needs the original model.
        """
        return self.registers(batch)[self.output]

    def registers(self, batch: Batch) -> dict[str, Any]:
        """Run all steps and return every register, for explanations."""
        values: dict[str, Any] = {text_register(name): texts for name, texts in batch.texts.items()}
        values[NUMBERS] = batch.numbers
        for run, sources, target in self._steps:
            result = run(*[values[source] for source in sources])
            if target is not None:
                values[target] = result
            elif not result.all():
                values = {name: _kept(value, result) for name, value in values.items()}
        return values


def _kept(value: Any, rows: np.ndarray) -> Any:
    if isinstance(value, np.ndarray):
        return value[rows]
    return [entry for entry, keep in zip(value, rows, strict=True) if keep]
