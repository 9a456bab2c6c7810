"""Start, recognise and stop the stack."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from demo.errors import DemoError
from demo.stack import account
from demo.stack.components import (
    Component,
    airflow_environment,
    components,
    migrate_command,
    write_passwords,
)
from demo.stack.health import is_ready, last_line
from demo.stack.ports import check_free
from demo.stack.processes import Records, Started, end, family, find, spawn
from demo.stack.settings import ROOT, StackSettings, save_settings

START_SECONDS = 240.0
_POLL_SECONDS = 0.3
_GRACE_SECONDS = 8.0
_FREE_BYTES = 2 * 1024**3
_STOP_ORDER = (("migrate", "scheduler", "dag-processor", "triggerer"), ("api-server", "mlflow"), ("aws",))

Report = Callable[[str, str], None]
"""Told (part, state) at each change: ``starting``, ``ready``, ``already running``."""


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    settings: StackSettings
    started_here: bool  # False: it was up before this call

    def stop(self) -> int:
        """Stops it; see :func:`stop_stack`."""
        return stop_stack(self.settings)


def start_stack(settings: StackSettings, *, report: Report) -> Stack:
    """Starts what is not running yet and waits until all of it answers.

    Args:
        settings: Where the stack is to be.
        report: Told of each part's progress.

    Raises:
        DemoError: A port is busy, the disk is full, or a part does not come up (its last log line is named).
    """
    with only_one(settings):
        _check_disk(settings.state_dir)
        launcher = _Launcher(settings, report)
        try:
            launcher.run()
            account.prepare_account(settings)
        except BaseException:
            if launcher.started_any:
                stop_stack(settings)
            raise
        return Stack(settings, started_here=launcher.started_any)


def stop_stack(settings: StackSettings) -> int:
    """Stops every process of the stack, whoever started it and whatever became of that program.

    Each goes before what it talks to: the workers before the API they report to, the AWS stand-in last.

    Returns:
        How many processes there were.
    """
    records = Records(settings.state_dir)
    started = records.read()
    mark = str(settings.state_dir)

    def everything(but: frozenset[int]) -> list[psutil.Process]:
        return [process for process in find(mark, started.values()) if process.pid not in but]

    alive = {name: psutil.Process(part.pid) for name, part in started.items() if part.is_alive()}
    count = 0
    for names in _STOP_ORDER:
        leaders = [alive[name] for name in names if name in alive]
        later = frozenset(p.pid for name in _after(names) if name in alive for p in family(alive[name]))
        count += end(leaders, functools.partial(everything, but=later), grace_seconds=_GRACE_SECONDS)
    records.clear()
    return count


def _after(names: tuple[str, ...]) -> list[str]:
    return [name for later in _STOP_ORDER[_STOP_ORDER.index(names) + 1 :] for name in later]


def running_parts(settings: StackSettings) -> dict[str, bool]:
    """Each component's title and whether its process runs."""
    started = Records(settings.state_dir).read()
    return {c.title: c.name in started and started[c.name].is_alive() for c in components(settings)}


@contextlib.contextmanager
def only_one(settings: StackSettings, what: str = "start") -> Iterator[None]:
    """Holds the stack's lock of that name, so that two commands do not do the same thing at once."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with (settings.state_dir / f"{what}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoError(
                f"another command is at work on the stack in {settings.state_dir} ({what}); wait for it or end it."
            ) from error
        yield


class _Launcher:
    """One start: what is missing is spawned as soon as what it needs answers."""

    def __init__(self, settings: StackSettings, report: Report) -> None:
        self._settings = settings
        self._report = report
        self._records = Records(settings.state_dir)
        self._parts = components(settings)
        self._began: dict[str, float] = {}
        self.started_any = False

    def missing(self) -> list[Component]:
        started = self._records.read()
        return [part for part in self._parts if part.name not in started or not started[part.name].is_alive()]

    def run(self) -> None:
        missing = self.missing()
        for part in self._parts:
            if part not in missing:
                self._report(part.title, "already running")
        if not missing:
            return
        self._end_leftovers(missing)
        for part in missing:
            if part.port_variable is not None:
                check_free(_port_of(part, self._settings), part.port_variable)
        save_settings(self._settings)
        write_passwords(self._settings)
        self._settings.logs_dir.mkdir(parents=True, exist_ok=True)
        self._launch(missing)

    def _launch(self, missing: list[Component]) -> None:
        deadline = time.monotonic() + START_SECONDS
        before_airflow = [part for part in missing if part.name in {"aws", "mlflow"}]
        api_server = [part for part in missing if part.name == "api-server"]
        rest = [part for part in missing if part not in before_airflow + api_server]
        for part in before_airflow:
            self._start(part)
        if api_server:
            self._migrate(deadline)
            self._start(api_server[0])
            self._wait(api_server, deadline)  # tasks that start before it answers fail
        for part in rest:
            self._start(part)
        self._wait([*before_airflow, *rest], deadline)

    def _start(self, part: Component) -> None:
        self._began[part.name] = self._spawn(part.name, part.command, part.environment)[0].created
        self._report(part.title, "starting")
        self.started_any = True

    def _spawn(
        self, name: str, command: tuple[str, ...], environment: dict[str, str]
    ) -> tuple[Started, subprocess.Popen[bytes]]:
        started, process = spawn(name, command, environment=environment, log=self._log(name), cwd=ROOT)
        self._records.add(started)
        return started, process

    def _migrate(self, deadline: float) -> None:
        _, process = self._spawn("migrate", migrate_command(), airflow_environment(self._settings))
        if process.wait(timeout=max(1.0, deadline - time.monotonic())) != 0:
            log = self._log("migrate")
            raise DemoError(f"Airflow's database could not be made: {last_line(log)} (whole log: {log}).")

    def _wait(self, parts: list[Component], deadline: float) -> None:
        waiting = list(parts)
        while waiting:
            for part in list(waiting):
                if is_ready(part.name, self._settings, since=self._began[part.name]):
                    self._report(part.title, "ready")
                    waiting.remove(part)
                else:
                    self._check(part, deadline)
            time.sleep(_POLL_SECONDS if waiting else 0)

    def _check(self, part: Component, deadline: float) -> None:
        log = self._log(part.name)
        if not self._records.read()[part.name].is_alive():
            raise DemoError(f"{part.title} ended while starting: {last_line(log)} (whole log: {log}).")
        if time.monotonic() > deadline:
            raise DemoError(
                f"{part.title} did not answer within {START_SECONDS:.0f} s: {last_line(log)} (whole log: {log}); "
                "the machine may be too busy: run 'make down' and try again."
            )

    def _end_leftovers(self, missing: list[Component]) -> None:
        """A part that died without its children (workers, model servers) leaves them behind: they go first."""
        started = self._records.read()
        gone = [started[part.name] for part in missing if part.name in started]
        if not any(part.is_alive() for part in started.values()):
            end([], lambda: find(str(self._settings.state_dir), started.values()), grace_seconds=0)
        else:
            end([], lambda: find("", gone), grace_seconds=0)

    def _log(self, name: str) -> Path:
        return self._settings.logs_dir / f"{name}.log"


def _port_of(part: Component, settings: StackSettings) -> int:
    return next(port for _, port, variable in settings.ports.items() if variable == part.port_variable)


def _check_disk(state_dir: Path) -> None:
    free = shutil.disk_usage(state_dir).free
    if free < _FREE_BYTES:
        raise DemoError(
            f"only {free // 1024**2} MiB free under {state_dir}; the stack needs {_FREE_BYTES // 1024**2}: "
            "free some space or choose another folder with SLIPWAY_STACK_DIR."
        )
