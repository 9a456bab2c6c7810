"""Categories, nulls and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.forms.batch import NotCoveredError
from slipway_serving.program.registry import operation

if TYPE_CHECKING:
    from slipway_serving.program.registry import Run, Step


@operation
def impute(step: Step) -> Run:
    """Replace nulls, and values equal to ``missing`` if that is a number, by ``fill`` of their column."""
    fill, missing = np.asarray(step["fill"], np.float64), step.get("missing")

    def run(matrix: np.ndarray) -> np.ndarray:
        absent = np.isnan(matrix) if missing is None else matrix == missing
        return np.where(absent, fill, matrix)

    return run


@operation
def null_flags(step: Step) -> Run:
    """Return 1 where one of ``columns`` is null, else 0."""
    columns = np.asarray(step["columns"], np.intp)
    return lambda matrix: np.isnan(matrix[:, columns]).astype(np.float64)


@operation
def lookup_text(step: Step) -> Run:
    """Replace texts by rows of ``table``: ``keys[i]`` by row i, others, with ``default``, by the last row."""
    table = step["table"]
    index: dict[str | None, int] = {key: at for at, key in enumerate(step["keys"])}
    if step.get("null") is not None:
        index[None] = step["null"]
    last = len(table) - 1
    default = step["default"]

    def run(texts: list[str | None]) -> np.ndarray:
        try:
            at = [index.get(text, last) for text in texts] if default else [index[text] for text in texts]
        except KeyError as error:
            raise NotCoveredError(f"unknown category {error}") from None
        found: np.ndarray = table[at]
        return found

    return run


@operation
def lookup_number(step: Step) -> Run:
    """Replace the numbers of one column by rows of ``table`` as ``lookup_text`` does; ``null`` is the row for null."""
    keys, table = np.asarray(step["keys"], float), step["table"]
    order = np.argsort(keys)
    keys = keys[order]
    default, null = step["default"], step["null"]

    def run(matrix: np.ndarray) -> np.ndarray:
        column = matrix[:, 0]
        at = np.minimum(np.searchsorted(keys, column), len(keys) - 1)
        known, absent = keys[at] == column, np.isnan(column)
        if (not default and not (known | absent).all()) or (null is None and absent.any()):
            raise NotCoveredError("an unknown category")
        rows = np.where(known, order[at], len(table) - 1)
        found: np.ndarray = table[np.where(absent, null or 0, rows)]
        return found

    return run


@operation
def category(step: Step) -> Run:
    """Pass positions below ``size`` on; others become ``size`` if they are to be kept.

    With ``nulls`` as ``pass`` not-a-number is no position and passes in any case.
    """
    size, keep, passes_null = step["size"], step["keep"], step.get("nulls") == "pass"

    def run(matrix: np.ndarray) -> np.ndarray:
        known = (matrix >= 0.0) & (matrix < size)
        if passes_null:
            known |= np.isnan(matrix)
        if keep:
            return np.where(known, matrix, float(size))
        if not known.all():
            raise NotCoveredError("an unknown category")
        return matrix

    return run


@operation
def one_hot(step: Step) -> Run:
    """Turn columns of positions into columns of 0 and 1, ``widths[i]`` for input i; a position outside gives zeros.

    With ``nulls`` as ``pass`` not-a-number gives not-a-number in all columns of its input.
    """
    passes_null = step.get("nulls") == "pass"
    widths = np.asarray(step["widths"], np.intp)
    offsets = np.concatenate([[0], np.cumsum(widths)[:-1]])
    total = int(widths.sum())

    def run(*columns: np.ndarray) -> np.ndarray:
        positions = np.concatenate(columns, axis=1)
        rows, at = np.nonzero((positions >= 0) & (positions < widths))
        result = np.zeros((len(positions), total))
        result[rows, offsets[at] + positions[rows, at].astype(np.intp)] = 1.0
        if passes_null:
            result[np.repeat(np.isnan(positions), widths, axis=1)] = np.nan
        return result

    return run
