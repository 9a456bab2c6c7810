"""Row filters: they say which rows go on, and all registers lose the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slipway_serving.program.registry import row_filter

if TYPE_CHECKING:
    from slipway_serving.program.registry import Run, Step


@row_filter
def keep_complete(_step: Step) -> Run:
    """Keep the rows without null."""
    return lambda matrix: ~np.isnan(matrix).any(axis=1)


@row_filter
def keep_known_texts(step: Step) -> Run:
    """Keep the rows whose text is one of ``keys``."""
    keys = frozenset(step["keys"])
    return lambda texts: np.array([text in keys for text in texts], dtype=bool)


@row_filter
def keep_known_numbers(step: Step) -> Run:
    """Keep the rows whose number is one of ``keys``."""
    keys = np.asarray(step["keys"], float)
    return lambda matrix: np.isin(matrix[:, 0], keys)
