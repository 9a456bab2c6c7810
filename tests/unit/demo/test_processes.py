import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.stack.processes import MARK, Records, Started, end, find, spawn

# A part like Airflow's scheduler: it has a child, and with "stubborn" neither listens to SIGTERM.
_PART = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if "stubborn" in sys.argv else ""
child = subprocess.Popen([sys.executable, "-c", f"import signal, time; {deaf}print(1, flush=True); time.sleep(600)"],
    env={} if "clean" in sys.argv else None, start_new_session="apart" in sys.argv)
time.sleep(600)
"""


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    yield str(tmp_path)
    for process in find(str(tmp_path), Records(tmp_path).read().values()):
        process.kill()


def start(folder: Path, *options: str) -> Started:
    started, _ = spawn(
        "part",
        [sys.executable, "-c", _PART, *options],
        environment={**os.environ, MARK: str(folder)},
        log=folder / "logs" / "part.log",
        cwd=folder,
    )
    Records(folder).add(started)
    deadline = time.monotonic() + 20
    while (folder / "logs" / "part.log").read_text() == "" and time.monotonic() < deadline:
        time.sleep(0.05)
    return started


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("options", [(), ("stubborn",), ("clean",), ("apart",), ("stubborn", "apart")])
def test_a_part_and_its_child_end_whatever_they_do(tmp_path: Path, mark: str, options: tuple[str, ...]) -> None:
    started = start(tmp_path, *options)
    [child] = psutil.Process(started.pid).children()

    count = end([psutil.Process(started.pid)], lambda: find(mark, Records(tmp_path).read().values()), grace_seconds=0.5)

    assert count == 2
    assert not alive(started.pid)
    assert not alive(child.pid)


@pytest.mark.parametrize("options", [(), ("clean",), ("apart",)], ids=["same session", "no mark", "own session"])
def test_what_a_crashed_part_leaves_behind_is_found(tmp_path: Path, mark: str, options: tuple[str, ...]) -> None:
    started = start(tmp_path, *options)
    [child] = psutil.Process(started.pid).children()
    os.kill(started.pid, signal.SIGKILL)
    os.waitpid(started.pid, 0)

    assert [process.pid for process in find(mark, Records(tmp_path).read().values())] == [child.pid]


def test_the_mark_alone_leads_back_when_the_records_are_lost(tmp_path: Path, mark: str) -> None:
    started = start(tmp_path)
    Records(tmp_path).clear()

    assert started.pid in {process.pid for process in find(mark, [])}


def test_other_peoples_processes_are_never_found(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: "/elsewhere"}, start_new_session=True)
    try:
        process = psutil.Process(stranger.pid)
        reused = Started("part", stranger.pid, process.create_time() - 3600, psutil.boot_time())
        earlier_boot = Started("part", stranger.pid, process.create_time(), psutil.boot_time() - 86400)

        assert not reused.is_alive()
        assert find(str(tmp_path), [reused]) == []
        assert find(str(tmp_path), [earlier_boot]) == []
    finally:
        stranger.kill()
        stranger.wait()


def test_damaged_records_are_no_records(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text('[{"name": "part"}]')
    assert Records(tmp_path).read() == {}
