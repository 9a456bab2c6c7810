"""From scores to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.forms.batch import NotCoveredError
from slipway_serving.program.forest import sum_leaves
from slipway_serving.program.registry import operation

if TYPE_CHECKING:
    from slipway_serving.program.registry import Run, Step


@operation
def forest(step: Step) -> Run:
    """Add up the leaves' values over the trees of an ensemble."""
    return sum_leaves(step["trees"], step.get("weights"))


@operation
def largest(_step: Step) -> Run:
    """Return the position of each row's largest value, the first of equal ones."""
    return lambda matrix: np.argmax(matrix, axis=1)


@operation
def largest_ratio(step: Step) -> Run:
    """Return the position of each row's largest quotient by ``by``; 0 / 0 never is."""
    by = np.asarray(step["by"], float)

    def run(matrix: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            ratio = matrix / by
        found: np.ndarray = np.argmax(np.where(np.isnan(ratio), -np.inf, ratio), axis=1)
        return found

    return run


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
def nearest(step: Step) -> Run:
    """Return the position of the center with the least Euclidean distance."""
    centers = np.asarray(step["centers"], float)

    def run(matrix: np.ndarray) -> np.ndarray:
        if not np.isfinite(matrix).all():
            raise NotCoveredError("a null or an infinity")
        distances = [((matrix - center) ** 2).sum(axis=1) for center in centers]
        closest: np.ndarray = np.argmin(np.stack(distances, axis=1), axis=1)
        return closest

    return run


@operation
def labels(step: Step) -> Run:
    """Replace positions by class labels."""
    classes = step["classes"]
    if isinstance(classes, np.ndarray):
        return lambda positions: classes[positions]
    return lambda positions: [classes[position] for position in positions.tolist()]


@operation
def column(step: Step) -> Run:
    """Return positions as a column of numbers, or of whole numbers."""
    dtype = np.int64 if step.get("whole") else np.float64
    return lambda positions: positions.astype(dtype).reshape(-1, 1)


@operation
def ravel(_step: Step) -> Run:
    """Return the only column as a vector."""
    return lambda matrix: matrix[:, 0]
