from __future__ import annotations

import asyncio

import pytest

from slipway_serving import patience
from slipway_serving.patience import Patience


@pytest.fixture(autouse=True)
def _quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SWEEP_SECONDS", 0.02)


async def started(seconds: float) -> Patience:
    limit = Patience(seconds)
    limit.start(asyncio.get_running_loop())
    return limit


def test_what_is_quick_enough_is_returned():
    async def run() -> str:
        limit = await started(0.1)
        return await limit.wait_for(asyncio.sleep(0.01, "done"))

    assert asyncio.run(run()) == "done"


def test_what_takes_too_long_is_given_up_and_the_task_goes_on():
    async def run() -> str:
        limit = await started(0.05)
        with pytest.raises(TimeoutError):
            await limit.wait_for(asyncio.sleep(10))
        return await limit.wait_for(asyncio.sleep(0.01, "next"))

    assert asyncio.run(run()) == "next"


def test_a_cancellation_from_elsewhere_stays_one():
    async def run() -> None:
        limit = await started(5)
        task = asyncio.create_task(limit.wait_for(asyncio.sleep(10)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_who_was_given_up_once_can_be_given_up_again():
    async def run() -> None:
        limit = await started(0.05)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                await limit.wait_for(asyncio.sleep(10))

    asyncio.run(run())


def test_a_cancellation_beside_the_limit_wins():
    async def run() -> None:
        limit = Patience(0.0)
        task = asyncio.create_task(limit.wait_for(asyncio.sleep(10)))
        await asyncio.sleep(0.01)
        limit.start(asyncio.get_running_loop())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
