"""Writing a program step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slipway_serving.program.program import NUMBERS, text_register


class CannotCompileError(Exception):
    """The model holds something that has no compiled form; the message names it."""


@dataclass(frozen=True)
class Column:
    """A column of the request: its place among the numeric ones, or a text."""

    name: str
    kind: str
    position: int

    @property
    def is_text(self) -> bool:
        """Whether the column holds texts."""
        return self.kind == "string"


@dataclass(frozen=True)
class Matrix:
    """A register that holds a matrix."""

    register: str
    width: int


Frame = list[Column]
Value = Frame | Matrix


class Builder:
    """Collects steps and names their registers.

    Parameters
    ----------
    request_width
        Number of numeric columns in a request.
    singles
        Whether 32-bit floats are among them, which some transformers keep as such.
    """

    def __init__(self, request_width: int, *, singles: bool = False) -> None:
        self.singles = singles
        self.steps: list[dict[str, Any]] = []
        self._request_width = request_width

    def step(self, op: str, *sources: str, **parameters: Any) -> str:
        """Add a step and return the register of its output."""
        out = f"r{len(self.steps)}"
        self.steps.append({"op": op, "in": list(sources), "out": out, **parameters})
        return out

    def apply(self, op: str, value: Matrix, **parameters: Any) -> Matrix:
        """Add a step that keeps the width."""
        return Matrix(self.step(op, value.register, **parameters), value.width)

    def matrix(self, value: Value) -> Matrix:
        """Return a value as a matrix of numbers.

        Raises
        ------
        CannotCompileError
            It holds text columns.
        """
        if isinstance(value, Matrix):
            return value
        texts = [column.name for column in value if column.is_text]
        if texts:
            raise CannotCompileError(f"text columns {texts} where numbers are needed")
        positions = [column.position for column in value]
        if positions == list(range(self._request_width)):
            return Matrix(NUMBERS, len(positions))
        return Matrix(self.step("take", NUMBERS, columns=positions), len(positions))

    def concat(self, parts: list[Matrix]) -> Matrix:
        """Put matrices side by side."""
        parts = [part for part in parts if part.width]
        if len(parts) == 1:
            return parts[0]
        register = self.step("concat", *[part.register for part in parts])
        return Matrix(register, sum(part.width for part in parts))

    def lookup(
        self, column: Column | Matrix, keys: list[Any], table: np.ndarray, *, default: bool, null: int | None
    ) -> Matrix:
        """Replace one column by rows of a table."""
        if isinstance(column, Column) and column.is_text:
            register = self.step("lookup_text", text_register(column.name), keys=keys, table=table, default=default)
        else:
            source = column if isinstance(column, Matrix) else self.matrix([column])
            numbers = np.asarray(keys, dtype=np.float64)
            register = self.step(
                "lookup_number", source.register, keys=numbers, table=table, default=default, null=null
            )
        return Matrix(register, table.shape[1])
