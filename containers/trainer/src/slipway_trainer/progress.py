"""One line a step on standard output, with the seconds since the process began to work."""

from __future__ import annotations

import sys
import time

_BEGAN = time.monotonic()


def tell(text: str) -> None:
    """Print a progress line at once."""
    sys.stdout.write(f"[{time.monotonic() - _BEGAN:7.1f} s] {text}\n")
    sys.stdout.flush()


def elapsed_seconds() -> float:
    """Seconds since this module was imported."""
    return time.monotonic() - _BEGAN
