"""The bounded queue between the event loop and the one thread that scores."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from slipway_serving.message import Request, RequestError, Response
from slipway_serving.problem import problem

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)

MAX_STUCK_THREADS = 3
Answer = TypeVar("Answer", bound="Response | None")


class Job:
    """One request on its way through the queue."""

    __slots__ = ("deadline", "future", "request", "started")

    def __init__(self, request: Request, future: asyncio.Future[Response], deadline: float) -> None:
        self.request = request
        self.future = future
        self.deadline = deadline
        self.started: float | None = None  # while the prediction runs: the monotonic time at which it began


class ScoringQueue:
    """Scores requests one after the other in a thread, so that the event loop stays free for ``/ping``.

    A prediction that runs for the time-out cannot be stopped: its caller is answered, its thread is left to itself
    and a new one takes over. ``stuck`` counts such threads; at ``MAX_STUCK_THREADS`` the server calls itself unhealthy.
    Time in the queue does not count there: a caller who waited in vain gets 504, and the prediction its own time.

    Parameters
    ----------
    answer
        Scores one request; raises ``RequestError``.
    limit
        Requests that may wait or run at a time.
    timeout_seconds
        Longest time from arrival to answer, and longest time that a prediction may take.
    show
        Is called in the event loop with the name of a gauge, ``in_flight`` or ``stuck_threads``, and its new value.
    """

    def __init__(
        self,
        answer: Callable[[Request], Response],
        limit: int,
        timeout_seconds: float,
        show: Callable[[str, float], None] = lambda _gauge, _value: None,
    ) -> None:
        self._answer = answer
        self._show = show
        self._limit = limit
        self._timeout = timeout_seconds
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._generation = 0
        self._stuck: set[int] = set()
        self.waiting = 0
        self._start_thread()

    @property
    def stuck(self) -> int:
        """Threads that still run a prediction whose time is over."""
        return len(self._stuck)

    async def score(self, request: Request) -> Response:
        """Queue the request and wait for its answer.

        Returns
        -------
        Response
            The engine's answer, or 503 when the queue is full, or 504 when time ran out.
        """
        if self.waiting >= self._limit:
            return overloaded()
        loop = asyncio.get_running_loop()
        job = Job(request, loop.create_future(), time.monotonic() + self._timeout)
        timer = loop.call_later(self._timeout, self._expire, job)
        self._wait(1)
        self._jobs.put(job)
        try:
            response = await job.future
            timer.cancel()  # it goes on for a caller who went away: the prediction may still be one that does not end
            return response
        finally:
            self._wait(-1)

    def _wait(self, more: int) -> None:
        self.waiting += more
        self._show("in_flight", self.waiting)

    def _expire(self, job: Job) -> None:
        _settle(job.future, problem(504, "TEMPORARILY_UNAVAILABLE", "Request processing time exceeded limit"))
        self._give_up(job)

    def _give_up(self, job: Job) -> None:
        """Leave a prediction to itself if it has run for the time-out; look again when it could have."""
        started = job.started
        if started is None:
            return
        left = started + self._timeout - time.monotonic()
        if left > 0:
            job.future.get_loop().call_later(left, self._give_up, job)
            return
        _logger.error("a prediction exceeded %.1f s; its thread is abandoned", self._timeout)
        self._stuck.add(self._generation)
        self._show("stuck_threads", self.stuck)
        self._start_thread()

    def _start_thread(self) -> None:
        self._generation += 1
        threading.Thread(target=self._run, args=(self._generation,), name="scoring", daemon=True).start()

    def _run(self, generation: int) -> None:
        while generation == self._generation:
            job = self._jobs.get()
            if job is None:
                return
            loop = job.future.get_loop()
            if job.future.done() or time.monotonic() >= job.deadline:
                continue
            job.started = time.monotonic()
            response = self._answer_whatever_comes(job.request)
            job.started = None  # and no more to be called stuck
            loop.call_soon_threadsafe(_settle, job.future, response)
        loop.call_soon_threadsafe(self._end_stuck, generation)

    def _answer_whatever_comes(self, request: Request) -> Response:
        """Score, and outlive what is no ``Exception``: a model's ``SystemExit``, a panic of an extension in Rust."""
        try:
            return answer_safely(self._answer, request)
        except BaseException:
            _logger.exception("scoring failed; the thread goes on")
            return _failed()

    def _end_stuck(self, generation: int) -> None:
        self._stuck.discard(generation)
        self._show("stuck_threads", self.stuck)

    def close(self) -> None:
        """Let the thread end after the jobs that are queued."""
        self._jobs.put(None)


def _settle(future: asyncio.Future[Response], response: Response) -> None:
    if not future.done():
        future.set_result(response)


def overloaded() -> Response:
    """Return the answer of a server that has no room for another request."""
    response = problem(503, "TEMPORARILY_UNAVAILABLE", "The server is at its limit; try again in a second")
    response.headers.append(("retry-after", "1"))
    return response


def answer_safely(answer: Callable[[Request], Answer], request: Request) -> Answer | Response:
    """Score, and turn every failure into an answer: the caller's fault is 4xx, ours is 500 and logged."""
    try:
        return answer(request)
    except RequestError as error:
        return problem(error.status, error.code, str(error))
    except Exception:
        _logger.exception("scoring failed")
        return _failed()


def _failed() -> Response:
    return problem(500, "INTERNAL_ERROR", "The model server failed; its log says more")
