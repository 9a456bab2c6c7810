"""Folders that are kept between runs, named after what they hold, and dropped by last use.

Several processes use one at once. Each holds a shared lock meanwhile, which the kernel gives up with the process; what
drops a folder needs the lock alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DROPPED = ".dropped-"


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep a folder, which need not be there yet, from being dropped during the block, and note its use."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock_file(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        note_use(folder)
        yield
        note_use(folder)


def note_use(folder: Path) -> None:
    """Let a folder count as used now; one that is not there is fine."""
    with suppress(OSError):
        os.utime(folder)


def prune(folders: Iterable[Path], limit_bytes: int, *, idle_seconds: float = 0.0) -> None:
    """Drop the folders used longest ago until all are within a limit. Nothing fails when one cannot be dropped.

    Args:
        folders: all of one kind, in one folder. The one used last stays, and so does what is in use.
        limit_bytes: of all together.
        idle_seconds: what was used within that time stays, for uses that hold no lock to their end.
    """
    known = []
    for folder in folders:
        with suppress(OSError):  # another process drops the same
            known.append((folder.stat().st_mtime, folder, _size_bytes(folder)))
    for parent in {folder.parent for _, folder, _ in known}:
        for left in parent.glob(f"{_DROPPED}*"):  # of a process that was killed over it
            shutil.rmtree(left, ignore_errors=True)
    excess = sum(size for _, _, size in known) - limit_bytes
    for used_at, folder, size in sorted(known)[:-1]:
        if excess <= 0 or time.time() - used_at < idle_seconds:
            return
        with suppress(OSError):
            _drop(folder)
            excess -= size


def _drop(folder: Path) -> None:
    """Remove a folder; under its name it is there whole or not at all.

    Raises:
        BlockingIOError: it is in use.
    """
    dropped = folder.with_name(f"{_DROPPED}{folder.name}")
    with _lock_file(folder).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.rename(dropped)
    shutil.rmtree(dropped, ignore_errors=True)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.in-use")  # stays: whoever waits for it must wait for the same file


def _size_bytes(folder: Path) -> int:
    return sum(
        (Path(place) / name).stat(follow_symlinks=False).st_size
        for place, _, names in os.walk(folder)
        for name in names
    )
