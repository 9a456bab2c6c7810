"""Counts in bins, and their shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: One count for each bin; integers, or floats after smoothing.
Counts = NDArray[Any]


def shares(counts: Counts) -> NDArray[np.float64]:
    """Return each bin's share of all; zeros when nothing was counted."""
    total = counts.sum()
    return counts.astype(np.float64) / total if total else np.zeros(len(counts))


def redrawn(
    edges: NDArray[np.float64], cumulative: NDArray[np.float64], low: float, high: float, parts: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a histogram again over parts of equal width, the mass of a bin lying evenly between its edges.

    Args:
        edges: The bins' edges, rising; none of ``low`` and ``high`` is outside.
        cumulative: What lies below each edge.
        low: Where the first part begins.
        high: Where the last part ends.
        parts: How many.

    Returns:
        The borders of the parts, and what lies below each.
    """
    with np.errstate(over="ignore"):  # numpy knows no span beyond the largest double: then all is drawn half as wide
        scale = 1.0 if np.isfinite(edges[-1] - edges[0]) else 0.5
    borders = np.linspace(low * scale, high * scale, parts + 1)
    return borders / scale, np.interp(borders, edges * scale, cumulative)
