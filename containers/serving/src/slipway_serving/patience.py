"""A limit on how long a request's body may take to arrive, without a timer for each request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

SWEEP_SECONDS = 1.0

Result = TypeVar("Result")


class Patience:
    """Cancels what takes too long, by looking at everything that is going on once a second.

    Parameters
    ----------
    seconds
        The limit; it is kept to within a second.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since: dict[asyncio.Task[object], float] = {}
        self._given_up: set[asyncio.Task[object]] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to look."""
        now = loop.time()
        for task, since in self._since.items():
            if now - since > self.seconds and task not in self._given_up:
                self._given_up.add(task)
                task.cancel()
        loop.call_later(SWEEP_SECONDS, self.start, loop)

    async def wait_for(self, work: Awaitable[Result]) -> Result:
        """Await work within the limit.

        Raises
        ------
        TimeoutError
            It took longer.
        """
        task = asyncio.current_task()
        assert task is not None
        self._since[task] = asyncio.get_running_loop().time()
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._given_up or task.uncancel() > 0:
                raise
            raise TimeoutError from None
        finally:
            self._given_up.discard(task)
            del self._since[task]
