"""The program ``docker``: its lines are passed on while it works, and it ends with this process or task."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slipway.errors import EngineUnavailableError

_KEPT_LINES = 2000
_KILL_SECONDS = 10.0
# Runs a command that ends, with all that it started, at the end of the input, however that comes about: by us, or by
# the kernel when this process is killed. An engine breaks a build or push off when its client goes.
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _ <&3; kill -s KILL -- -$$; } >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait "$child"
code=$?
kill -s KILL "$guard" 2>/dev/null
exit "$code"
"""
_NO_ENGINE = ("cannot connect to the docker daemon", "docker daemon socket", "error during connect")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Plain lines instead of a redrawn screen; and no attestations, which would make the image a list of images.
_PLAIN = {"BUILDKIT_PROGRESS": "plain", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_CLI_HINTS": "false"}
_CURE = (
    "start Docker on the workers that build images, point DOCKER_HOST at an engine, or set image_builder: layers in "
    "platform.yaml, which needs none"
)


@dataclass(frozen=True)
class DockerEnd:
    """How a command ended: its exit ``code`` and its last ``lines``."""

    code: int
    lines: tuple[str, ...]


class DockerClient:
    """Runs commands of a Docker client, one at a time.

    Args:
        program: the client.
        seconds: time limit of one command.
    """

    def __init__(self, program: str = "docker", *, seconds: float = 3600.0) -> None:
        self._program = program
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._killed = False

    def run(self, arguments: Sequence[str], on_line: Callable[[str], None]) -> DockerEnd:
        """Run one command to its end.

        Args:
            arguments: of the client.
            on_line: given each line that it prints.

        Returns:
            How it ended, also when it failed.

        Raises:
            EngineUnavailableError: there is no client or no engine, it took too long, or `kill` was called.
        """
        lines: deque[str] = deque(maxlen=_KEPT_LINES)
        process = self._process = self._start(arguments)
        if self._killed:  # while it was started
            _let_end(process)
        late = threading.Event()
        overdue = threading.Timer(self._seconds, _give_up, [process, late])
        overdue.start()
        try:
            for line in process.stdout or ():
                if text := _COLOUR.sub("", line).strip():
                    lines.append(text)
                    on_line(text)
            code = process.wait()
        finally:
            overdue.cancel()
            _end(process)
        if self._killed:
            raise EngineUnavailableError(f"docker {_command_of(arguments)} was ended with its task")
        if code and late.is_set():
            raise EngineUnavailableError(f"docker {_command_of(arguments)} did not finish within {self._seconds:.0f} s")
        if code and any(mark in line.lower() for mark in _NO_ENGINE for line in lines):
            raise EngineUnavailableError(f"no Docker engine answers on this worker ({lines[-1]}): {_CURE}")
        return DockerEnd(code, tuple(lines))

    def kill(self) -> None:
        """End the command that runs, and let none start after it; may be called by a signal's handler."""
        self._killed = True
        if self._process:
            _let_end(self._process)

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        if self._killed:
            raise EngineUnavailableError(f"docker {_command_of(arguments)} was not started: its task is being ended")
        if shutil.which(self._program) is None:
            raise EngineUnavailableError(f"there is no {self._program} program on this worker: {_CURE}")
        return subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", self._program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_PLAIN},
            text=True,
            errors="replace",
            start_new_session=True,
        )


def _give_up(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    _let_end(process)


def _let_end(process: subprocess.Popen[str]) -> None:
    """Close the guard's input, and wait for nothing."""
    if process.stdin and not process.stdin.closed:
        process.stdin.close()


def _end(process: subprocess.Popen[str]) -> None:
    _let_end(process)
    if process.stdout:
        process.stdout.close()
    try:
        process.wait(_KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _command_of(arguments: Sequence[str]) -> str:
    return next((word for word in arguments if word in {"build", "push"}), "")
