"""Start a part in its own session, and find and end all that it left behind, also after a crash.

Three marks lead back to a process of ours: the recorded pid, the session that it leads, and the variable
``SLIPWAY_STACK_MARK`` that every child inherits.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MARK = "SLIPWAY_STACK_MARK"
_ASK_AGAIN_SECONDS = 3.0
_SAME_BOOT_SECONDS = 5.0


@dataclass(frozen=True)
class Started:
    """One part that was started: what is needed to recognise it later."""

    name: str
    pid: int
    created: float  # seconds since the epoch, as psutil tells it
    booted: float  # the machine's boot, seconds since the epoch

    def is_alive(self) -> bool:
        """True when that very process (not a later one with its pid) still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class Records:
    """``processes.json`` in the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "processes.json"

    def read(self) -> dict[str, Started]:
        """Parts by name; empty when nothing was started or the file is damaged."""
        try:
            return {entry["name"]: Started(**entry) for entry in json.loads(self._path.read_text())}
        except (OSError, ValueError, TypeError, KeyError):
            return {}

    def add(self, started: Started) -> None:
        """Adds or replaces one part."""
        self._write({**self.read(), started.name: started})

    def clear(self) -> None:
        """Forgets all parts."""
        self._path.unlink(missing_ok=True)

    def _write(self, parts: Mapping[str, Started]) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps([asdict(part) for part in parts.values()], indent=2))
        temporary.replace(self._path)


def spawn(
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    cwd: Path,
) -> tuple[Started, subprocess.Popen[bytes]]:
    """Starts one part in its own session, output appended to its log.

    Args:
        name: The part's name in the records.
        command: Program and arguments.
        environment: The whole environment (the mark included).
        log: File for stdout and stderr.
        cwd: Working folder.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    created = psutil.Process(process.pid).create_time()
    return Started(name, process.pid, created, psutil.boot_time()), process


def find(mark: str, records: Iterable[Started]) -> list[psutil.Process]:
    """Every living process of the stack with that mark, this process and its ancestors excepted."""
    recorded = [started for started in records if abs(started.booted - psutil.boot_time()) < _SAME_BOOT_SECONDS]
    sessions = {started.pid: started.created for started in recorded if not _was_reused(started)}
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = {
        process.pid: process
        for process in psutil.process_iter()
        if process.pid not in own and (_in_session(process, sessions) or _has_mark(process, mark))
    }
    for process in list(found.values()):
        found.update({member.pid: member for member in family(process) if member.pid not in own})
    return list(found.values())


def end(
    leaders: Iterable[psutil.Process], everything: Callable[[], list[psutil.Process]], *, grace_seconds: float
) -> int:
    """Asks the leaders to end, waits, then kills whatever ``everything`` still finds.

    Returns:
        How many processes there were.
    """
    seen = {process.pid for process in everything()}
    asked = list(leaders)
    deadline = time.monotonic() + grace_seconds
    while asked and time.monotonic() < deadline:
        for process in asked:
            _send(process, signal.SIGTERM)
        # Again after a while: Airflow's scheduler can lose the exit it raises in its signal handler.
        asked = _wait(asked, min(_ASK_AGAIN_SECONDS, deadline - time.monotonic()))
    for _ in range(50):
        rest = [process for process in everything() if _alive(process)]
        if not rest:
            break
        for process in rest:
            seen.add(process.pid)
            _send(process, signal.SIGKILL)
        _wait(rest, 0.5)
    return len(seen)


def _was_reused(started: Started) -> bool:
    """True when the pid now belongs to another process, and with it perhaps the session."""
    try:
        return abs(psutil.Process(started.pid).create_time() - started.created) >= 1
    except psutil.Error:
        return False  # the leader is gone; the kernel keeps its number while its session has members


def _in_session(process: psutil.Process, sessions: Mapping[int, float]) -> bool:
    try:
        session = os.getsid(process.pid)
        return session in sessions and process.create_time() >= sessions[session] - 1
    except (OSError, psutil.Error):
        return False


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all its living descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Waits for their end; returns those that still live. A zombie has ended: its parent may never reap it."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if _alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return
