"""How far long work is, in a task's log: what is finished at once, what is under way every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway.artifacts.transfer import SyncProgress
    from slipway.images.progress import Progress

_EVERY_SECONDS = 10.0


class ProgressLog:
    """Takes reports of progress, from any thread.

    :param write: Writes a line of the task's log, as ``log.info`` does.
    :param every_seconds: Least time between two lines about work that is under way.
    :param clock: Seconds since whenever.
    """

    def __init__(
        self,
        write: Callable[..., object],
        *,
        every_seconds: float = _EVERY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._every_seconds = every_seconds
        self._clock = clock
        self._told = clock()
        self._lock = threading.Lock()

    def sync(self, progress: SyncProgress) -> None:
        """Take a report of a sync; its end is told by the result."""
        if progress.bytes < progress.bytes_total and self._is_due():
            self._write(
                "%d of %d files, %d of %d bytes",
                *(progress.files, progress.files_total, progress.bytes, progress.bytes_total),
            )

    def image(self, progress: Progress) -> None:
        """Take a report of an image's build."""
        if not progress.total_bytes:
            self._write("%s %s", progress.step, progress.item)
        elif progress.done_bytes == progress.total_bytes:
            self._write("%s %s (%d bytes)", progress.step, progress.item, progress.total_bytes)
        elif self._is_due():
            self._write(
                "%s %s: %d of %d bytes", progress.step, progress.item, progress.done_bytes, progress.total_bytes
            )

    def _is_due(self) -> bool:
        with self._lock:
            now = self._clock()
            if now - self._told < self._every_seconds:
                return False
            self._told = now
            return True
