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
