"""The guard around the docker program: what it passes on, and that nothing outlives us."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from slipway.errors import EngineUnavailableError
from slipway.images.docker_client import DockerClient, DockerEnd


def program(folder: Path, text: str) -> str:
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_lines_are_passed_on_as_they_come_without_colours(tmp_path: Path) -> None:
    client = DockerClient(program(tmp_path, r"printf '\033[91mone\033[0m\n\n'; echo two $2 >&2; cat; exit 3"))
    lines: list[str] = []
    assert client.run(["build", "a b"], lines.append) == DockerEnd(3, ("one", "two a b"))
    assert lines == ["one", "two a b"]


def alive(marker: str) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if marker in (each.info["cmdline"] or [])]


def wait_until_none(marker: str) -> None:
    deadline = time.monotonic() + 10
    while alive(marker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sleeper(folder: Path) -> tuple[str, str]:
    """A client that starts a helper, as buildx is one, and waits; and how both are found."""
    seconds = f"600.{time.monotonic_ns() % 10**9}"
    return program(folder, f"sleep {seconds} & echo up; sleep {seconds}"), seconds


def test_killing_ends_the_client_and_its_helpers(tmp_path: Path) -> None:
    path, marker = sleeper(tmp_path)
    client = DockerClient(path)
    with pytest.raises(EngineUnavailableError, match="docker push was ended with its task"):
        client.run(["push"], lambda line: client.kill())
    wait_until_none(marker)
    with pytest.raises(EngineUnavailableError, match="was not started"):
        client.run(["push"], print)


def test_a_signals_handler_may_kill_while_it_is_waited_for(tmp_path: Path) -> None:
    path = program(tmp_path, "exec >/dev/null 2>&1; sleep 600")
    client = DockerClient(path)
    before = signal.signal(signal.SIGUSR1, lambda *_: client.kill())
    timer = threading.Timer(0.5, signal.pthread_kill, [threading.get_ident(), signal.SIGUSR1])
    timer.start()
    with pytest.raises(EngineUnavailableError, match="was ended with its task"):
        client.run(["build"], print)
    timer.join()
    signal.signal(signal.SIGUSR1, before)


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    path, marker = sleeper(tmp_path)
    code = f"from slipway.images.docker_client import DockerClient\nDockerClient({path!r}).run(['build'], print)\n"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.kill()
    wait_until_none(marker)


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    path, marker = sleeper(tmp_path)
    with pytest.raises(EngineUnavailableError, match="docker build did not finish within 1 s"):
        DockerClient(path, seconds=1).run(["build"], print)
    wait_until_none(marker)


def test_a_failing_callback_leaves_nothing_running(tmp_path: Path) -> None:
    path, marker = sleeper(tmp_path)

    def fail(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="up"):
        DockerClient(path).run(["build"], fail)
    wait_until_none(marker)
