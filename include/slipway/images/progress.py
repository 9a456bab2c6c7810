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


def silent(_: Progress) -> None:
    """Take a progress report and say nothing."""
