"""Tools that mirror folders and S3 prefixes, each in an environment of its own, all asked the same thing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway.artifacts.resolve import uv_command

ACCESS_KEY, SECRET_KEY, REGION = "AKIDBENCH", "bench-secret", "us-east-1"
_START_SECONDS = 60


@dataclass(frozen=True)
class Usage:
    """What one run cost: wall-clock and CPU seconds, largest resident memory in MiB."""

    seconds: float
    cpu_seconds: float
    memory_mebibytes: float


def install(package: str, folder: Path) -> Path:
    """Install a package from the index into its own environment, compiled; returns that environment's ``bin``."""
    environment = folder / package
    if not (environment / "bin").exists():
        subprocess.run([uv_command(), "venv", "--quiet", "--no-project", "--python", "3.11", environment], check=True)
        command = [
            uv_command(),
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            environment / "bin/python",
        ]
        subprocess.run([*command, package], check=True)
    return environment / "bin"


def version(command: Sequence[str | Path]) -> str:
    """The first line that a tool says about its version."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]


# A process begins with the largest memory of the one that starts it, so the tools are started by one that has little.
_METER = """
import os, sys, time
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
began = time.monotonic()
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet), 0)
print(time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measured(command: Sequence[str | Path], environment: Mapping[str, str]) -> Usage:
    """Run a command, whose program is given by its path, to its end and say what it cost."""
    call = [sys.executable, "-I", "-S", "-c", _METER, *command]
    done = subprocess.run(call, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr[-2000:]}")
    seconds, cpu_seconds, memory = map(float, done.stdout.split())
    return Usage(seconds, cpu_seconds, memory)


class Command:
    """A tool that is started anew for each sync.

    Args:
        arguments: its command line; ``{source}``, ``{destination}`` and ``{endpoint}`` are filled in.
        environment: added to the credentials that every tool gets.
        remote: how the tool spells ``s3://``.
        glob: added to a remote source, for tools that need a pattern there.
    """

    def __init__(
        self, arguments: Sequence[str | Path], environment: Mapping[str, str], *, remote: str = "s3://", glob: str = ""
    ) -> None:
        self._arguments = [str(argument) for argument in arguments]
        self._environment = credentials() | environment
        self._remote = remote
        self._glob = glob

    def sync(self, source: str, destination: str, endpoint: str) -> Usage:
        """Make the destination hold what the source holds."""
        places = {
            "source": source.replace("s3://", self._remote) + (self._glob if source.startswith("s3://") else ""),
            "destination": destination.replace("s3://", self._remote),
            "endpoint": endpoint,
        }
        environment = {name: value.format(**places) for name, value in self._environment.items()}
        return measured([argument.format(**places) for argument in self._arguments], environment)


class WarmSlipway:
    """Slipway as a task has it: a Python that has its libraries and a boto3 session already."""

    def __init__(self) -> None:
        arguments = [sys.executable, "-m", "bench.peers.sync_worker"]
        self._process = subprocess.Popen(
            arguments, env=os.environ | credentials(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def sync(self, source: str, destination: str, endpoint: str) -> Usage:
        """Ask the waiting process."""
        assert self._process.stdin
        assert self._process.stdout
        began = time.monotonic()
        self._process.stdin.write(f"{source}\t{destination}\t{endpoint}\n")
        self._process.stdin.flush()
        cpu_seconds, memory = self._process.stdout.readline().split()
        return Usage(time.monotonic() - began, float(cpu_seconds), float(memory))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def credentials() -> dict[str, str]:
    """What every tool gets, and nothing else of the AWS settings around."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}


@contextmanager
def seaweedfs(binary: Path, folder: Path, port: int) -> Iterator[str]:
    """An S3 server with its data below ``folder``; yields its URL. Uses the five ports from ``port`` on, and +10000."""
    folder.mkdir(parents=True)
    identity = '{"name":"bench","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":["Admin"]}'
    (folder / "s3.json").write_text('{"identities":[' + identity % (ACCESS_KEY, SECRET_KEY) + "]}")
    command = [binary, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={port}"]
    command += [f"-master.port={port + 1}", f"-volume.port={port + 2}", f"-filer.port={port + 3}"]
    command += [f"-s3.config={folder / 's3.json'}", "-volume.max=30", "-master.telemetry=false"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS does not start:\n{(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
