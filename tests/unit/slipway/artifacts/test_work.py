from __future__ import annotations

import threading
import time

import pytest

from slipway.artifacts import work
from slipway.artifacts.work import patiently, run_all
from slipway.errors import PermanentError, StorageUnavailableError


def test_pieces_bring_pieces_until_all_are_done() -> None:
    done: list[int] = []
    lock = threading.Lock()

    def piece(depth: int) -> list:
        with lock:
            done.append(depth)
        return [lambda: piece(depth - 1)] * 2 if depth else []

    run_all([lambda: piece(4)], workers=3)
    assert len(done) == 2**5 - 1


def test_never_more_at_a_time_than_workers() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def piece() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    run_all([piece] * 20, workers=4)
    assert most == 4


def test_the_first_error_stops_the_rest() -> None:
    started: list[int] = []

    def piece(number: int) -> None:
        started.append(number)
        if number == 3:
            raise PermanentError("three")
        time.sleep(0.01)

    with pytest.raises(PermanentError, match="three"):
        run_all([lambda number=number: piece(number) for number in range(100)], workers=2)
    assert len(started) < 20


def test_nothing_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "ThreadPoolExecutor", lambda **_: pytest.fail("a thread"))
    run_all([], workers=4)


def test_what_a_running_piece_brings_after_an_error_is_dropped() -> None:
    failed, done = threading.Event(), []

    def fails() -> None:
        failed.set()
        raise PermanentError("one")

    def brings() -> list:
        failed.wait(5)
        time.sleep(0.05)
        return [lambda: done.append(1)]

    with pytest.raises(PermanentError, match="one"):
        run_all([brings, fails, lambda: done.append(2)] + [lambda: done.append(3)] * 50, workers=2)
    assert 1 not in done


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_PAUSES_SECONDS", (0, 0))
    outcomes = [StorageUnavailableError("1"), StorageUnavailableError("2"), None]

    def call() -> None:
        if error := outcomes.pop(0):
            raise error

    patiently(call)
    outcomes[:] = [StorageUnavailableError("1"), StorageUnavailableError("2"), StorageUnavailableError("3"), None]
    with pytest.raises(StorageUnavailableError, match="3"):
        patiently(call)
    outcomes[:] = [PermanentError("at once"), None]
    with pytest.raises(PermanentError):
        patiently(call)
