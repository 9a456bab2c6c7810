"""Arithmetic on matrices of 64-bit floats, rows × columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.forms.batch import NotCoveredError
from slipway_serving.program.registry import operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipway_serving.program.registry import Run, Step


@operation
def take(step: Step) -> Run:
    """Choose ``columns`` of a matrix."""
    columns = np.asarray(step["columns"], np.intp)
    return lambda matrix: matrix[:, columns]


@operation
def concat(_step: Step) -> Run:
    """Put matrices side by side."""
    return lambda *parts: np.concatenate(parts, axis=1)


@operation
def shift(step: Step) -> Run:
    """Subtract ``by`` from each column."""
    by = step["by"]
    return lambda matrix: matrix - by


@operation
def add(step: Step) -> Run:
    """Add ``by`` to each column."""
    by = step["by"]
    return lambda matrix: matrix + by


@operation
def divide(step: Step) -> Run:
    """Divide each column by ``by``."""
    by = step["by"]
    return lambda matrix: matrix / by


@operation
def multiply(step: Step) -> Run:
    """Multiply each column by ``by``."""
    by = step["by"]
    return lambda matrix: matrix * by


@operation
def clip(step: Step) -> Run:
    """Limit to ``low`` … ``high``."""
    low, high = step["low"], step["high"]
    return lambda matrix: np.clip(matrix, low, high)


@operation
def linear(step: Step) -> Run:
    """Multiply by ``weights`` (columns × outputs) and add ``bias``."""
    weights, bias = np.ascontiguousarray(step["weights"]), step["bias"]
    return lambda matrix: matrix @ weights + bias


@operation
def bucket(step: Step) -> Run:
    """Return the number of the interval that each value is in, by ``edges`` of its column; lower edges belong to it."""
    edges = [np.asarray(column) for column in step["edges"]]

    def run(matrix: np.ndarray) -> np.ndarray:
        parts = [np.searchsorted(edge, matrix[:, index], side="right") for index, edge in enumerate(edges)]
        return np.stack(parts, axis=1).astype(np.float64)

    return run


@operation
def spark_bucket(step: Step) -> Run:
    """Return the number of the interval between ``splits``; the last one holds its upper limit too.

    ``nulls`` says what becomes of not-a-number: ``keep`` gives it the number after the last one, ``pass`` leaves it as
    it is; ``refuse`` is what programs do that do not say. As in Java, -0.0 is less than 0.0: it is in the interval
    below a split at zero. https://docs.oracle.com/en/java/javase/17/docs/api/java.base/java/util/Arrays.html
    """
    splits, nulls = np.asarray(step["splits"], float), step.get("nulls", "refuse")
    last = len(splits) - 2
    has_zero = bool(((splits == 0.0) & ~np.signbit(splits)).any())

    def run(matrix: np.ndarray) -> np.ndarray:
        buckets = np.searchsorted(splits, matrix, side="right") - 1.0
        buckets[matrix == splits[-1]] = last
        if has_zero:
            buckets[(matrix == 0.0) & np.signbit(matrix)] = np.searchsorted(splits, 0.0) - 1.0
        absent = np.isnan(matrix)
        if (buckets < 0).any() or ((buckets > last) & ~absent).any():
            raise NotCoveredError("a number outside all intervals")
        if nulls == "refuse" and absent.any():
            raise NotCoveredError("a null or not-a-number")
        found: np.ndarray = np.where(absent, last + 1.0 if nulls == "keep" else np.nan, buckets)
        return found

    return run


@operation
def polynomial(step: Step) -> Run:
    """Return products of powers of columns; ``powers`` has one row for each output."""
    powers = np.asarray(step["powers"], np.intp)

    def run(matrix: np.ndarray) -> np.ndarray:
        result = np.ones((len(matrix), len(powers)))
        for column in range(powers.shape[1]):
            for _ in range(int(powers[:, column].max())):
                used = powers[:, column] > _
                result[:, used] *= matrix[:, column : column + 1]
        return result

    return run


@operation
def normalize(step: Step) -> Run:
    """Divide each row by its norm: ``l1``, ``l2`` or ``max``; rows of zeros stay."""
    kind = step["norm"]

    def run(matrix: np.ndarray) -> np.ndarray:
        if kind == "l1":
            norms = np.abs(matrix).sum(axis=1)
        elif kind == "l2":
            norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
        else:
            norms = np.abs(matrix).max(axis=1)
        divided: np.ndarray = matrix / np.where(norms == 0.0, 1.0, norms)[:, None]
        return divided

    return run


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": lambda x: x,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "absolute": np.abs,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "reciprocal": np.reciprocal,
    "logistic": lambda x: 1.0 / (1.0 + np.exp(-x)),
}
FUNCTION_NAMES = frozenset(_FUNCTIONS)


@operation
def function(step: Step) -> Run:
    """Apply a function of one number, by name, to every value."""
    apply = _FUNCTIONS[step["name"]]

    def run(matrix: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return apply(matrix)

    return run


@operation
def interpolate(step: Step) -> Run:
    """Interpolate linearly between points; outside, the nearest point's value holds."""
    at, values = np.asarray(step["at"], float), np.asarray(step["values"], float)
    return lambda matrix: np.interp(matrix[:, 0], at, values).reshape(-1, 1)


@operation
def share_of_row(_step: Step) -> Run:
    """Divide each row by its sum; rows of zeros stay."""

    def run(matrix: np.ndarray) -> np.ndarray:
        sums = matrix.sum(axis=1, keepdims=True)
        divided: np.ndarray = matrix / np.where(sums == 0.0, 1.0, sums)
        return divided

    return run


@operation
def two_shares(_step: Step) -> Run:
    """Turn one column p into the two columns 1 - p, p."""
    return lambda matrix: np.concatenate([1.0 - matrix, matrix], axis=1)


@operation
def softmax(_step: Step) -> Run:
    """Turn each row of scores into shares that add up to 1."""

    def run(matrix: np.ndarray) -> np.ndarray:
        powers = np.exp(matrix - matrix.max(axis=1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return shares

    return run
