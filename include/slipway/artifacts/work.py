"""Run many small pieces of work on a few threads; a piece may bring further pieces."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from slipway.errors import TransientError

_PAUSES_SECONDS = (0.5, 2.0)
Work = Callable[[], "Iterable[Work] | None"]


def run_all(pieces: Iterable[Work], workers: int) -> None:
    """Run all pieces and what they bring, the brought ones first.

    Args:
        pieces: calls without arguments; each may return further pieces.
        workers: number of threads.

    Raises:
        The first error of any piece, after the running ones have ended; waiting ones are dropped.
    """
    queue = _Queue(pieces)
    if queue.is_empty:
        return
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="slipway-sync") as pool:
        try:
            for loop in [pool.submit(queue.work) for _ in range(workers)]:
                loop.result()
        except BaseException:
            queue.drop()
            raise
    if queue.error:
        raise queue.error


class _Queue:
    """The pieces that wait. Each thread takes the next one itself: a future for each would cost more than a small file.

    Args:
        pieces: the first ones.
    """

    def __init__(self, pieces: Iterable[Work]) -> None:
        self._waiting = deque(pieces)
        self._running = 0
        self._is_dropped = False
        self._changed = threading.Condition()
        self.error: BaseException | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def work(self) -> None:
        """Run pieces until there are none, and none that runs can bring any."""
        while piece := self._take():
            try:
                self._put(tuple(piece() or ()))
            except BaseException as error:  # noqa: BLE001  # raised by who waits for all
                self.error = self.error or error
                self.drop()
                self._put(())

    def drop(self) -> None:
        """Let go of what waits, and of what is still brought."""
        with self._changed:
            self._is_dropped = True
            self._waiting.clear()

    def _take(self) -> Work | None:
        with self._changed:
            while not self._waiting and self._running:
                self._changed.wait()
            if not self._waiting:
                return None
            self._running += 1
            return self._waiting.popleft()

    def _put(self, brought: Sequence[Work]) -> None:
        with self._changed:
            self._running -= 1
            if not self._is_dropped:
                self._waiting.extendleft(reversed(brought))
            if brought or not self._running:
                self._changed.notify_all()


def patiently(call: Callable[[], None]) -> None:
    """Make a call that may be made again, up to three times while its error may pass.

    A connection that breaks in the middle of a body is not tried again by boto3 itself.
    """
    for pause in _PAUSES_SECONDS:
        try:
            return call()
        except TransientError:
            time.sleep(pause)
    return call()
