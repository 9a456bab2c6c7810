"""The queue shows what waits and what is stuck, as it is now."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

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


def test_the_largest_of_all_workers_counts():
    board = Board(3)
    board.row(1).set("stuck_threads", 3)
    board.row(2).set("stuck_threads", 1)
    assert board.largest("stuck_threads") == 3
    board.row(1).clear_gauges()
    assert board.largest("stuck_threads") == 1
