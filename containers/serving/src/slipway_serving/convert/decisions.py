"""Where a program decides by the request's own numbers, and rows that put these decisions to the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.boundaries import boundary_rows
from slipway_serving.forms.batch import Layout, columns_to_batch
from slipway_serving.program.explain import trace
from slipway_serving.program.program import NUMBERS, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway_serving.convert.probes import Row

_PASS_ON = {
    "finite", "as_float32", "no_null", "not_negative", "zero_or_one", "known_categories", "impute",
}  # fmt: skip

Origins = list[int | None]


def origins_of(steps: list[dict[str, Any]], columns: list[tuple[str, str]]) -> dict[str, Origins]:
    """Return, for every register, the request's column that each of its columns holds as it came, else ``None``.

    Parameters
    ----------
    steps
        The program's.
    columns
        ``(name, MLflow type)`` in the signature's order; columns are given by their position there.
    """
    sources = trace(steps, columns)
    found: dict[str, Origins] = {NUMBERS: [at for at, (_, kind) in enumerate(columns) if kind != "string"]}
    for step in steps:
        inputs, width = [found.get(register) for register in step["in"]], sources[step["out"]]
        known = [origins for origins in inputs if origins is not None]
        if step["op"] in _PASS_ON and known:
            found[step["out"]] = known[0]
        elif step["op"] == "take" and known:
            found[step["out"]] = [known[0][column] for column in step["columns"]]
        elif step["op"] == "concat" and len(known) == len(inputs):
            found[step["out"]] = [origin for origins in known for origin in origins]
        elif width is not None:
            found[step["out"]] = [None] * len(width)
    return found


def thresholds_of(steps: list[dict[str, Any]], columns: list[tuple[str, str]]) -> dict[int, np.ndarray]:
    """Return the numbers at which the program decides, sorted, by the position of the column in the signature.

    These are the thresholds of trees, the edges of intervals, marks of missing values and numbers that are categories,
    as far as they are held against what the request says, not against something computed from it.
    """
    found: dict[int, list[np.ndarray]] = {}
    origins = origins_of(steps, columns)
    for step in steps:
        for at, values in _decisions(step):
            origin = origins.get(step["in"][0], [])[at : at + 1]
            if origin and origin[0] is not None:
                found.setdefault(origin[0], []).append(np.asarray(values, float))
    together = {origin: np.unique(np.concatenate(values)) for origin, values in found.items()}
    return {origin: values[np.isfinite(values)] for origin, values in together.items()}


def _decisions(step: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Return pairs of a column of the step's input and the numbers at which the step decides there."""
    if step["op"] == "forest":
        trees = step["trees"]
        for feature in np.unique(trees["feature"]).tolist():
            yield feature, trees["threshold"][trees["feature"] == feature]
    elif step["op"] == "bucket":
        yield from enumerate(step["edges"])
    elif step["op"] == "spark_bucket":
        yield 0, step["splits"]
    elif step["op"] == "lookup_number":
        yield 0, step["keys"]
    elif step["op"] == "impute" and step.get("missing") is not None:
        yield from ((column, [step["missing"]]) for column in range(len(step["fill"])))


def split_rows(steps: list[dict[str, Any]], columns: list[tuple[str, str]], rows: list[Row]) -> list[Row]:
    """Return rows at the splits of the program's trees, where these look at the request's columns of 64-bit floats.

    Parameters
    ----------
    steps
        The program's, without row filters.
    columns
        ``(name, MLflow type)`` in the signature's order.
    rows
        Ordinary rows without nulls to start from; what is no column of 64-bit floats stays as it is there.
    """
    origins = origins_of(steps, columns)
    found: list[Row] = []
    for at, step in enumerate(steps):
        own = origins.get(step["in"][0], []) if step["op"] == "forest" and rows else []
        free = np.array([origin is not None and columns[origin][1] == "double" for origin in own], bool)
        free &= np.array([own.count(origin) == 1 for origin in own], bool)
        if not free.any():
            continue
        base = _register(steps[:at], step["in"][0], columns, rows)
        for index, values in boundary_rows(step["trees"], base, free):
            row = list(rows[index])
            for feature in np.flatnonzero(values != base[index]).tolist():
                row[_column(own, feature)] = float(values[feature])
            found.append(row)
    return found


def _column(origins: Origins, feature: int) -> int:
    origin = origins[feature]
    assert origin is not None, "only what is a request's own column is changed"
    return origin


def _register(
    steps: list[dict[str, Any]], register: str, columns: list[tuple[str, str]], rows: list[Row]
) -> np.ndarray:
    """Return the matrix that the rows have become when the given steps are done."""
    by_column = list(zip(*rows, strict=True))
    batch = columns_to_batch(Layout(columns), lambda index, _: list(by_column[index]), len(rows))
    matrix: np.ndarray = Program({"steps": steps, "output": register}).registers(batch)[register]
    return matrix
