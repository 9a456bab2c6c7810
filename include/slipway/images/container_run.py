"""One container on this machine's Docker engine: made, given files, run to its end, looked through, removed.

Files are copied in and out through the engine, nothing is mounted: it works for any user of the image, leaves no
file behind that belongs to root, and also where the engine does not see this process's folders.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.errors import BaseImageError, ContainerFailedError, EngineUnavailableError, RegistryUnavailableError
from slipway.images.docker_engine import write_login

if TYPE_CHECKING:
    from slipway.images.registry import RegistryClient

_QUICK_SECONDS = 60.0
_SLOW_SECONDS = 3600.0  # pulling an image, copying files
_TAIL = 1000  # characters of the engine's words worth showing
_NO_ENGINE = ("docker daemon", "docker.sock", "error during connect")
_NO_REGISTRY = (
    "connection refused",
    "connection reset",
    "timeout",
    "unexpected eof",
    "toomanyrequests",
    "no such host",
)
_SERVER_ERROR = re.compile(r"\b5\d\d\b")
_NO_FOLDER = ("no such", "could not find")
# Goes on at the end of its input, however that comes about: by us, or by the kernel when this process is killed. A
# signal to everything that a worker has started must not end it before it has done its work.
_GUARD = 'trap "" HUP INT TERM; read -r _; exec "$@"'
_GUARD_NEEDS: tuple[str, ...] = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")
_GUARD_NEEDS += ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@dataclass(frozen=True)
class ContainerEnd:
    """How a container ended.

    Args:
        code: Exit code of its first process.
        out_of_memory: The kernel killed it for its memory.
    """

    code: int
    out_of_memory: bool


def find_image(image: str, *, login: Callable[[], RegistryClient | None] = lambda: None, docker: str = "docker") -> str:
    """Find an image that this machine has, or pull it.

    Args:
        image: Its name.
        login: Our account at the image's registry, asked for only when the image has to be pulled; None for the
            accounts that the Docker client of this machine knows.
        docker: The client program.

    Returns:
        The image's id: a digest of its content.

    Raises:
        EngineUnavailableError: No engine answers.
        BaseImageError: There is no such image, or it may not be read.
        RegistryUnavailableError: Its registry does not answer.
    """
    known = _engine([docker, "image", "inspect", "--format", "{{.Id}}", image])
    if known.returncode == 0:
        return known.stdout.strip()
    with tempfile.TemporaryDirectory(prefix="slipway-docker-") as folder:
        options = []
        if registry := login():
            write_login(registry, Path(folder) / "config")
            options = ["--config", str(Path(folder) / "config")]
        pulled = _engine([docker, *options, "pull", "--quiet", image], seconds=_SLOW_SECONDS)
    if pulled.returncode:
        said = pulled.stderr.lower()
        if any(mark in said for mark in _NO_REGISTRY) or _SERVER_ERROR.search(said):
            raise RegistryUnavailableError(f"the image {image} cannot be pulled: {_words(pulled)}")
        raise BaseImageError(
            f"the image {image} is not on this machine and cannot be pulled: {_words(pulled)}; build or push it, or "
            "correct its name in the spec"
        )
    return _asked([docker, "image", "inspect", "--format", "{{.Id}}", image]).strip()


class ContainerRun:
    """One container, which ends and is removed with this process, however that one is killed.

    Args:
        image: Name or id of an image that the engine has.
        name: Of the container, the same for every try of one piece of work: what a killed try left is removed.
        command: In place of the image's entrypoint; empty to leave that.
        arguments: Arguments of the command.
        environment: Variables.
        docker: The client program.
    """

    def __init__(
        self,
        image: str,
        name: str,
        *,
        command: Sequence[str] = (),
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        docker: str = "docker",
    ) -> None:
        self._image = image
        self._name = name
        self._command = command
        self._arguments = arguments
        self._environment = environment or {}
        self._docker = docker
        self._guard: subprocess.Popen[bytes] | None = None

    def run(self, given: Path, wanted: Mapping[str, Path], on_line: Callable[[str], None]) -> ContainerEnd:
        """Run to the end.

        Args:
            given: Folder whose content is laid over the container's root folder.
            wanted: Folders of the container whose content is copied out at its end, to which folders of this machine;
                those that it does not have stay empty.
            on_line: Is given each line that the container prints.

        Returns:
            How it ended.

        Raises:
            ContainerFailedError: It cannot be started, or was removed while it ran.
            EngineUnavailableError: No engine answers, or it stopped answering.
        """
        self._remove()
        self._guard = self._start_guard()
        try:
            _asked(self._creation())
            _asked([self._docker, "cp", f"{given}/.", f"{self._name}:/"], seconds=_SLOW_SECONDS)
            started = self._attached(on_line)
            end = self._end(started)
            for folder, place in wanted.items():
                self._copy_out(folder, place)
        finally:
            self.kill()
        return end

    def kill(self) -> None:
        """End and remove the container; nothing happens when there is none."""
        guard, self._guard = self._guard, None
        if guard is None or guard.stdin is None:
            return
        guard.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            guard.wait(_QUICK_SECONDS)
        if guard.returncode:
            self._remove()

    def _start_guard(self) -> subprocess.Popen[bytes]:
        """A process that outlives this one just long enough to remove the container."""
        return subprocess.Popen(
            ["sh", "-c", _GUARD, "sh", self._docker, "rm", "--force", "--volumes", self._name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Not of this process's kind: who ends all that carry a mark of their environment leaves it alone.
            env={name: os.environ[name] for name in _GUARD_NEEDS if name in os.environ},
            start_new_session=True,
        )

    def _creation(self) -> list[str]:
        entrypoint = ["--entrypoint", self._command[0]] if self._command else []
        variables = [word for name, value in self._environment.items() for word in ("--env", f"{name}={value}")]
        words = [*self._command[1:], *self._arguments]
        options = ["--name", self._name, "--security-opt", "no-new-privileges", *entrypoint, *variables]
        return [self._docker, "create", *options, self._image, *words]

    def _attached(self, on_line: Callable[[str], None]) -> str:
        """Start it and pass on what it prints; returns the last of it."""
        last = ""
        with subprocess.Popen(
            [self._docker, "start", "--attach", self._name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as client:
            for line in client.stdout or ():
                last = line.strip() or last
                on_line(line.rstrip("\n"))
        return last

    def _end(self, last: str) -> ContainerEnd:
        asked = _engine([self._docker, "container", "inspect", "--format", "{{json .State}}", self._name])
        state: dict[str, Any] = {} if asked.returncode else json.loads(asked.stdout)
        if state.get("Status") in {None, "removing", "dead"}:
            raise ContainerFailedError(f"the container {self._name} was killed and removed while it ran")
        if state["Status"] == "created" or state["Error"]:
            raise ContainerFailedError(f"a container of {self._image} does not start: {state['Error'] or last}")
        if state["Status"] != "exited":
            raise EngineUnavailableError(f"the Docker engine let go of the container {self._name}: {last}")
        return ContainerEnd(int(state["ExitCode"]), bool(state["OOMKilled"]))

    def _copy_out(self, folder: str, place: Path) -> None:
        copied = _engine([self._docker, "cp", f"{self._name}:{folder}/.", str(place)], seconds=_SLOW_SECONDS)
        if copied.returncode and not any(mark in copied.stderr.lower() for mark in _NO_FOLDER):
            raise ContainerFailedError(f"{folder} of the container {self._name} cannot be copied out: {_words(copied)}")

    def _remove(self) -> None:
        _engine([self._docker, "rm", "--force", "--volumes", self._name])


def _asked(command: Sequence[str], *, seconds: float = _QUICK_SECONDS) -> str:
    done = _engine(command, seconds=seconds)
    if done.returncode:
        raise ContainerFailedError(f"docker {command[1]} failed: {_words(done)}")
    return done.stdout


def _engine(command: Sequence[str], *, seconds: float = _QUICK_SECONDS) -> subprocess.CompletedProcess[str]:
    """Ask the engine; an answer that says there is none is an error of its own."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise EngineUnavailableError(
            f"there is no {command[0]} program on this machine; install Docker on the workers that run this task"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailableError(f"the Docker engine did not answer within {seconds:.0f} s") from error
    if done.returncode and any(mark in done.stderr.lower() for mark in _NO_ENGINE):
        raise EngineUnavailableError(f"no Docker engine answers on this machine: {_words(done)}")
    return done


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stderr.strip() or done.stdout.strip())[-_TAIL:].split())
