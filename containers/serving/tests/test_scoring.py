"""The queue shows what waits and what is stuck, as it is now."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import pytest

from slipway_serving.board import Board
from slipway_serving.message import Request, Response
from slipway_serving.scoring import ScoringQueue


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


def test_gauges_follow_what_waits_and_what_is_stuck():
    board = Board(2)
    end = threading.Event()

    def answer(request: Request) -> Response:
        if request.body:
            end.wait(30)
        return Response(200, b"")

    def shown() -> tuple[float, float]:
        return board.largest("in_flight"), board.largest("stuck_threads")

    async def run() -> None:
        queue = ScoringQueue(answer, 8, 0.3, board.row(1).set)
        endless = asyncio.create_task(queue.score(Request(b"endless")))
        quick = asyncio.create_task(queue.score(Request(b"")))
        await asyncio.sleep(0.05)
        assert shown() == (2, 0)
        assert (await endless).status == 504
        await quick
        await until(lambda: shown() == (0, 1))
        end.set()
        await until(lambda: shown() == (0, 0))
        assert queue.stuck == 0
        assert (await queue.score(Request(b""))).status == 200
        queue.close()

    asyncio.run(run())


def test_a_prediction_is_given_up_for_its_own_time_not_for_its_time_in_the_queue():
    timeout_seconds = 2.0
    end = {name: threading.Event() for name in (b"first", b"second")}
    began: dict[bytes, float] = {}
    given_up: list[float] = []
    running: list[int] = [0]
    busiest: list[int] = []

    def answer(request: Request) -> Response:
        began[request.body] = time.monotonic()
        running[0] += 1
        busiest.append(running[0])
        if request.body in end:
            end[request.body].wait(30)
        running[0] -= 1
        return Response(200, b"")

    def show(gauge: str, value: float) -> None:
        if gauge == "stuck_threads" and value:
            given_up.append(time.monotonic())

    async def run() -> None:
        queue = ScoringQueue(answer, 16, timeout_seconds, show)
        first = asyncio.create_task(queue.score(Request(b"first")))
        await until(lambda: b"first" in began)
        second = asyncio.create_task(queue.score(Request(b"second")))
        waiting = [asyncio.create_task(queue.score(Request(b"waiting"))) for _ in range(10)]
        await asyncio.sleep(0.35 * timeout_seconds)
        end[b"first"].set()
        assert (await first).status == 200
        assert (await second).status == 504
        assert {(await job).status for job in waiting} == {504}
        assert max(busiest) == 1  # and all that waited had their time-out
        await until(lambda: queue.stuck == 1)
        assert (await queue.score(Request(b"next"))).status == 200
        end[b"second"].set()
        await until(lambda: queue.stuck == 0)
        queue.close()

    asyncio.run(run())
    assert len(given_up) == 1
    assert given_up[0] - began[b"second"] > 0.8 * timeout_seconds
    assert b"waiting" not in began


@pytest.mark.parametrize("failure", [SystemExit(1), KeyboardInterrupt(), ValueError("no")], ids=repr)
def test_whatever_a_prediction_raises_the_thread_goes_on(failure: BaseException):
    def answer(request: Request) -> Response:
        if request.body:
            raise failure
        return Response(200, b"")

    async def run() -> None:
        queue = ScoringQueue(answer, 8, 30.0)
        for _ in range(4):
            failed = await queue.score(Request(b"fails"))
            assert (failed.status, json.loads(failed.body)["error_code"]) == (500, "INTERNAL_ERROR")
            assert (await queue.score(Request(b""))).status == 200
        assert queue.stuck == 0
        queue.close()

    asyncio.run(run())


def test_a_caller_who_goes_away_leaves_no_thread_behind_unseen():
    end, began = threading.Event(), threading.Event()

    def answer(request: Request) -> Response:
        if request.body:
            began.set()
            end.wait(30)
        return Response(200, b"")

    async def run() -> None:
        queue = ScoringQueue(answer, 8, 0.2)
        endless = asyncio.create_task(queue.score(Request(b"endless")))
        await until(began.is_set)
        endless.cancel()
        await until(lambda: queue.stuck == 1)
        assert (queue.waiting, (await queue.score(Request(b""))).status) == (0, 200)
        end.set()
        await until(lambda: queue.stuck == 0)
        queue.close()

    asyncio.run(run())


def test_the_largest_of_all_workers_counts():
    board = Board(3)
    board.row(1).set("stuck_threads", 3)
    board.row(2).set("stuck_threads", 1)
    assert board.largest("stuck_threads") == 3
    board.row(1).clear_gauges()
    assert board.largest("stuck_threads") == 1
