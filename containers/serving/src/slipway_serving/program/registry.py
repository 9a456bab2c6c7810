"""Which operations there are, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = dict[str, Any]
Run = Callable[..., Any]

OPERATIONS: dict[str, Callable[[Step], Run]] = {}
ROW_FILTERS: set[str] = set()


def operation(make: Callable[[Step], Run]) -> Callable[[Step], Run]:
    """Register a maker under its own name."""
    OPERATIONS[make.__name__] = make
    return make


def row_filter(make: Callable[[Step], Run]) -> Callable[[Step], Run]:
    """Register a maker of functions that say which rows go on."""
    ROW_FILTERS.add(make.__name__)
    return operation(make)
