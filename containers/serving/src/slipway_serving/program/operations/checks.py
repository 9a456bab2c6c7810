"""Checks: what the original library refuses or treats in its own way is left to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.forms.batch import NotCoveredError
from slipway_serving.program.registry import operation

if TYPE_CHECKING:
    from slipway_serving.program.registry import Run, Step


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
def no_null(_step: Step) -> Run:
    """Pass a matrix on that holds no null."""

    def run(matrix: np.ndarray) -> np.ndarray:
        if np.isnan(matrix).any():
            raise NotCoveredError("a null or not-a-number")
        return matrix

    return run


@operation
def not_negative(_step: Step) -> Run:
    """Pass a matrix on that holds no negative number and no null."""

    def run(matrix: np.ndarray) -> np.ndarray:
        if not (matrix >= 0.0).all():
            raise NotCoveredError("a negative number")
        return matrix

    return run


@operation
def zero_or_one(_step: Step) -> Run:
    """Pass a matrix on that holds only 0 and 1."""

    def run(matrix: np.ndarray) -> np.ndarray:
        if not ((matrix == 0.0) | (matrix == 1.0)).all():
            raise NotCoveredError("a number other than 0 and 1")
        return matrix

    return run


@operation
def known_categories(step: Step) -> Run:
    """Pass a matrix on whose ``columns`` hold whole numbers from 0 to below ``sizes``."""
    columns, sizes = np.asarray(step["columns"], np.intp), np.asarray(step["sizes"], float)

    def run(matrix: np.ndarray) -> np.ndarray:
        values = matrix[:, columns]
        if not ((values >= 0.0) & (values < sizes) & (values == np.floor(values))).all():
            raise NotCoveredError("an unknown category")
        return matrix

    return run
