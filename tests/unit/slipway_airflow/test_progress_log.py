from __future__ import annotations

import logging

import pytest

from slipway.artifacts.transfer import SyncProgress
from slipway.images.progress import Progress
from slipway_airflow.progress_log import ProgressLog


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, now: list[float]) -> tuple[ProgressLog, pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO, "task")
    return ProgressLog(logging.getLogger("task").info, every_seconds=10, clock=lambda: now[0]), caplog


def test_a_sync_is_told_of_now_and_then_and_not_at_its_end(
    told: tuple[ProgressLog, pytest.LogCaptureFixture], now: list[float]
) -> None:
    log, caplog = told
    for second in range(35):
        now[0] = 100.0 + second
        log.sync(SyncProgress(second // 10, 4, second, 34))
    assert caplog.messages == [
        "1 of 4 files, 10 of 34 bytes",
        "2 of 4 files, 20 of 34 bytes",
        "3 of 4 files, 30 of 34 bytes",
    ]


def test_steps_of_a_build_and_their_ends_are_told_at_once(
    told: tuple[ProgressLog, pytest.LogCaptureFixture], now: list[float]
) -> None:
    log, caplog = told
    log.image(Progress("compile", "numpy"))
    log.image(Progress("push", "model", 1, 9))
    now[0] += 11
    log.image(Progress("push", "model", 5, 9))
    log.image(Progress("push", "model", 6, 9))
    log.image(Progress("push", "model", 9, 9))
    assert caplog.messages == ["compile numpy", "push model: 5 of 9 bytes", "push model (9 bytes)"]
