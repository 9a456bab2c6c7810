"""Service files in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write_service(tmp_path: Path) -> Callable[..., Path]:
    """Write a service file and return its path."""

    def write(content: str | bytes, name: str = "flights.yaml") -> Path:
        path = tmp_path / "services" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
