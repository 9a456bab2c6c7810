"""The threads of a build, which end soon when the build ends in an error or an interrupt."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slipway.images.progress import OnProgress, Progress

PARALLEL = 8  # threads; most of them wait for the network; what works is bounded in `dependency`


class BuildBrokenOffError(Exception):
    """Ends a piece of a build that has failed elsewhere; nobody is told of it."""


class Brake:
    """Takes reports of progress for another, and ends who reports when the build is over.

    Packing and sending report each block, installing and compiling their beginning; so a piece ends at its next step.

    Args:
        on_progress: told the reports.
    """

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._is_pulled = threading.Event()

    def __call__(self, progress: Progress) -> None:
        """Hand a report on.

        Raises:
            BuildBrokenOffError: the build is over.
        """
        if self._is_pulled.is_set():
            raise BuildBrokenOffError
        self._on_progress(progress)

    @contextmanager
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        """Give threads for a block. When it ends in an error, what waits is dropped and what runs is ended."""
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="image") as pool:
            try:
                yield pool
            except BaseException:
                self._is_pulled.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
