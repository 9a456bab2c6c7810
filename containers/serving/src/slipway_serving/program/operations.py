"""The operations that programs are made of.

Each function takes a step's description and returns a function from the step's input to its output: matrices of 64-bit
floats (rows × columns), or lists of texts. A row that the operation cannot treat as the original library would raises
``NotCoveredError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.forms.batch import NotCoveredError
from slipway_serving.program.forest import sum_leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    Step = dict[str, Any]
    Run = Callable[..., Any]

OPERATIONS: dict[str, Callable[[Step], Run]] = {}


def operation(make: Callable[[Step], Run]) -> Callable[[Step], Run]:
    """Register a maker under its own name."""
    OPERATIONS[make.__name__] = make
    return make


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
def finite(step: Step) -> Run:
    """Pass a matrix on; infinities, and nulls unless ``allow_null``, are left to the original."""
    allow_null = step["allow_null"]

    def run(matrix: np.ndarray) -> np.ndarray:
        bad = np.isinf(matrix) if allow_null else ~np.isfinite(matrix)
        if bad.any():
            raise NotCoveredError("a null or an infinity")
        return matrix

    return run


@operation
def as_float32(step: Step) -> Run:
    """Round to 32-bit floats, as scikit-learn's trees do; what overflows is left to the original."""
    allow_null = step["allow_null"]

    def run(matrix: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            rounded: np.ndarray = matrix.astype(np.float32).astype(np.float64)
        if not np.isfinite(rounded).all():
            bad = np.isinf(rounded) if allow_null else ~np.isfinite(rounded)
            if bad.any():
                raise NotCoveredError("a null or a number too large for 32 bits")
        return rounded

    return run


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
    index = {key: at for at, key in enumerate(step["keys"])}
    last = len(table) - 1
    default = step["default"]

    def run(texts: list[str]) -> np.ndarray:
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
def one_hot(step: Step) -> Run:
    """Turn columns of positions into columns of 0 and 1, ``widths[i]`` for input i; a position outside gives zeros."""
    widths = np.asarray(step["widths"], np.intp)
    offsets = np.concatenate([[0], np.cumsum(widths)[:-1]])
    total = int(widths.sum())

    def run(*columns: np.ndarray) -> np.ndarray:
        positions = np.concatenate(columns, axis=1)
        rows, at = np.nonzero((positions >= 0) & (positions < widths))
        result = np.zeros((len(positions), total))
        result[rows, offsets[at] + positions[rows, at].astype(np.intp)] = 1.0
        return result

    return run


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
def softmax(_step: Step) -> Run:
    """Turn each row of scores into shares that add up to 1."""

    def run(matrix: np.ndarray) -> np.ndarray:
        powers = np.exp(matrix - matrix.max(axis=1, keepdims=True))
        shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
        return shares

    return run


@operation
def two_shares(_step: Step) -> Run:
    """Turn one column p into the two columns 1 - p, p."""
    return lambda matrix: np.concatenate([1.0 - matrix, matrix], axis=1)


@operation
def share_of_row(_step: Step) -> Run:
    """Divide each row by its sum; rows of zeros stay."""

    def run(matrix: np.ndarray) -> np.ndarray:
        sums = matrix.sum(axis=1, keepdims=True)
        divided: np.ndarray = matrix / np.where(sums == 0.0, 1.0, sums)
        return divided

    return run


@operation
def forest(step: Step) -> Run:
    """Add up the leaves' values over the trees of an ensemble."""
    return sum_leaves(step["trees"], step.get("weights"))


@operation
def largest(_step: Step) -> Run:
    """Return the position of each row's largest value, the first of equal ones."""
    return lambda matrix: np.argmax(matrix, axis=1)


@operation
def above(step: Step) -> Run:
    """Return 1 where the only column exceeds ``limit`` (or reaches it, if ``inclusive``), else 0."""
    limit, inclusive = step["limit"], step["inclusive"]

    def run(matrix: np.ndarray) -> np.ndarray:
        column = matrix[:, 0]
        reached: np.ndarray = (column >= limit if inclusive else column > limit).astype(np.intp)
        return reached

    return run


@operation
def labels(step: Step) -> Run:
    """Replace positions by class labels."""
    classes = step["classes"]
    if isinstance(classes, np.ndarray):
        return lambda positions: classes[positions]
    return lambda positions: [classes[position] for position in positions.tolist()]


@operation
def ravel(_step: Step) -> Run:
    """Return the only column as a vector."""
    return lambda matrix: matrix[:, 0]
