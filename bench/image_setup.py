"""What the image benchmark needs around it: a registry, a base image, locks, a model, a serving app."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from slipway.artifacts.lock import DependencyLock
from slipway.artifacts.resolve import resolve_requirements
from slipway.images.auth import ChallengeAuth, Credentials
from slipway.images.registry import RegistryClient

USER, PASSWORD = "AWS", "secret-for-tests"
PASSWORD_HASH = "$2b$04$y6Taqqkf.KwCiLmWpRZR/OdZ8fy9PZdUjqb4r5ZH9PtD5JbYe6r.e"  # bcrypt of it
REQUIREMENTS = ("mlflow-skinny==3.17.2", "pandas==3.1.1", "scikit-learn==1.9.1", "granian", "orjson", "numpy", "skops")
BUMPED = "scikit-learn==1.9.0"
PYTHON, PLATFORM = "3.11", "linux/amd64"


@dataclass(frozen=True)
class LoopbackRegistry:
    """Debian's docker-registry with a password."""

    host: str
    folder: Path

    def client(self) -> RegistryClient:
        """A client of ours."""
        return RegistryClient(f"http://{self.host}", ChallengeAuth(Credentials(USER, PASSWORD)))

    def stored_bytes(self) -> int:
        """Bytes of all blobs that it holds: what was sent shows as growth, whoever sent it."""
        return sum(path.stat().st_size for path in (self.folder / "data").rglob("blobs/**/data"))

    def remember(self) -> None:
        """Note the present content as that to go back to."""
        shutil.copytree(self.folder / "data", self.folder / "noted", copy_function=os.link)

    def go_back(self) -> None:
        """Return to the content that was noted; the registry keeps nothing in memory."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        if (self.folder / "noted").exists():
            shutil.copytree(self.folder / "noted", self.folder / "data", copy_function=os.link)


@contextmanager
def loopback_registry(folder: Path) -> Iterator[LoopbackRegistry]:
    """Run a registry in ``folder`` until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    folder.mkdir(parents=True)
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": f"{folder}/data"}},
        "http": {"addr": host},
        "auth": {"htpasswd": {"realm": "bench", "path": f"{folder}/htpasswd"}},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "htpasswd").write_text(f"{USER}:{PASSWORD_HASH}\n")
    with _process(["docker-registry", "serve", str(folder / "config.json")], folder / "log"):
        _wait(lambda: requests.get(f"http://{host}/v2/", timeout=1))
        yield LoopbackRegistry(host, folder)


@contextmanager
def docker_engine(folder: Path) -> Iterator[str]:
    """Run a Docker engine of our own, so that emptying it harms nobody; yields its address."""
    folder.mkdir(parents=True)
    address = f"unix://{folder}/docker.sock"
    options = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/run", "--pidfile", f"{folder}/pid"]
    with _process(["dockerd", *options, "--host", address, "--insecure-registry", "127.0.0.0/8"], folder / "log"):
        _wait(lambda: subprocess.run(["docker", "--host", address, "info"], check=True, capture_output=True))
        yield address


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(attempt: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            attempt()  # type: ignore[operator]
        except (requests.ConnectionError, subprocess.CalledProcessError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def base_rootfs(folder: Path) -> Path:
    """Make a Debian with Python and pip by debootstrap (once), trusting what this machine trusts."""
    if not (folder / "usr/bin/pip3").exists():
        packages = "python3,python3-pip,ca-certificates"
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(folder / "var/cache/apt", ignore_errors=True)
        for marker in folder.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        certificates = Path("/etc/ssl/certs/ca-certificates.crt")
        if certificates.exists():
            shutil.copyfile(certificates, folder / "etc/ssl/certs/ca-certificates.crt")
    return folder


def locks() -> tuple[DependencyLock, DependencyLock]:
    """Resolve the packages, and the same with one of them in another version."""
    text = resolve_requirements(list(REQUIREMENTS), python=PYTHON, platform=PLATFORM)
    lock = DependencyLock.from_text(text, key="bench", python=PYTHON, platform=PLATFORM)
    name = BUMPED.partition("==")[0]
    others = [pin for pin in lock.requirements if not pin.startswith(f"{name}==")]
    bumped = [BUMPED if line.startswith(name) else line for line in REQUIREMENTS]
    text = resolve_requirements(bumped, python=PYTHON, platform=PLATFORM, constraints=others)
    return lock, DependencyLock.from_text(text, key="bench", python=PYTHON, platform=PLATFORM)


def write_model(folder: Path) -> None:
    """Write a model of 90 KB that no other is equal to."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MLmodel").write_text("flavors: {}\n")
    (folder / "model.bin").write_bytes(os.urandom(90_000))
