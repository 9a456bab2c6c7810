"""Run many small pieces of work on a few threads; a piece may bring further pieces."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

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
    waiting = deque(pieces)
    running: set[Future[Iterable[Work] | None]] = set()
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="slipway-sync") as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running.add(pool.submit(waiting.popleft()))
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    waiting.extendleft(reversed(list(future.result() or ())))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


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
