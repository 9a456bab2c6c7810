"""The description of a model's input in ``engine.json``."""

from __future__ import annotations

from typing import Any


def columns_of(layout: dict[str, Any]) -> list[tuple[str, str]]:
    """Return ``(name, type)`` of all columns; those of a tensor are named by their position."""
    if layout["kind"] == "tensor":
        kind = "double" if layout["dtype"] == "float64" else "float"
        return [(f"c{index}", kind) for index in range(layout["width"])]
    return [(name, kind) for name, kind in layout["columns"]]
