"""Where a machine keeps what is worth keeping between builds and runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CACHE_VARIABLE = "SLIPWAY_CACHE_DIR"
_LOCK = ".in-use"
_NEW_SECONDS = 60.0
"""A folder that is younger may not be locked yet."""


def default_cache_dir() -> Path:
    """Return the cache folder: ``SLIPWAY_CACHE_DIR``, or ``slipway`` below the user's cache folder."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway"


@contextmanager
def work_folder(cache_dir: Path, prefix: str) -> Iterator[Path]:
    """Make a folder for one piece of work, and remove those of work that was killed.

    A build's folder holds the model and its layers, gigabytes at times: a killed process leaves it, and nobody else
    would ever remove it. The kernel gives up a process's lock with it, so a folder without one belongs to nobody.

    Args:
        cache_dir: where; made when missing.
        prefix: of the folder's name; folders of that name are this function's alone.

    Yields:
        The folder, which is gone afterwards.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    for left in cache_dir.glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_abandoned(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=cache_dir.resolve()) as name:
        folder = Path(name)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def _remove_abandoned(folder: Path) -> None:
    if time.time() - folder.stat().st_mtime < _NEW_SECONDS:
        return
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(folder, ignore_errors=True)
