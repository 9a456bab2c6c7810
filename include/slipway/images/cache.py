"""Where a machine keeps what is worth keeping between builds and runs."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "SLIPWAY_CACHE_DIR"


def default_cache_dir() -> Path:
    """Return the cache folder: ``SLIPWAY_CACHE_DIR``, or ``slipway`` below the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"
