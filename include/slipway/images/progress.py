"""Progress of a build, told in bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One thing that happened.

    ``step`` is what is being done (``lookup``, ``install``, ``compress``, ``push``, ``copy``), ``item`` to what;
    ``done_bytes`` of ``total_bytes`` are finished (both 0 where bytes say nothing).
    """

    step: str
    item: str
    done_bytes: int = 0
    total_bytes: int = 0


OnProgress = Callable[[Progress], None]
OnBytes = Callable[[int], None]


def silent(_: Progress) -> None:
    """Take a progress report and say nothing."""


def byte_counter(step: str, item: str, total: int, on_progress: OnProgress) -> OnBytes:
    """Return what takes the bytes done so far and tells of them, each number once."""
    told = -1

    def count(done: int) -> None:
        nonlocal told
        if done != told:
            told = done
            on_progress(Progress(step, item, done, total))

    return count
