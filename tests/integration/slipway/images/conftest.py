"""Debian's docker-registry with a password, as a real process on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from slipway.artifacts.lock import DependencyLock
from slipway.images.auth import ChallengeAuth, Credentials
from slipway.images.builder import ImageRequest
from slipway.images.registry import RegistryClient

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
USER, PASSWORD = "AWS", "secret-for-tests"
PASSWORD_HASH = "$2b$04$y6Taqqkf.KwCiLmWpRZR/OdZ8fy9PZdUjqb4r5ZH9PtD5JbYe6r.e"  # bcrypt of it
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: slipway, path: {folder}/htpasswd}}}}
"""
# A server of the standard library alone that keeps to the container contract, for images without packages.
APP = """\
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(os.environ["SLIPWAY_MODEL_DIR"] + "/MLmodel", "rb").read()
        self.send_response(200)
        self.send_header("X-Who", f"{os.getuid()} {sys.argv[1]}")
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


@dataclass
class DockerRegistry:
    """The process; ``stop`` and ``start`` may be called in between, its content stays."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self, password: str = PASSWORD) -> RegistryClient:
        return RegistryClient(f"http://{self.host}", ChallengeAuth(Credentials(USER, password)))

    def start(self) -> None:
        config = self.folder / "config.yml"
        config.write_text(CONFIG.format(folder=self.folder, port=self.port))
        (self.folder / "htpasswd").write_text(f"{USER}:{PASSWORD_HASH}\n")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                requests.get(f"http://{self.host}/v2/", timeout=1)
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise RuntimeError("docker-registry does not start")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait(10)
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[DockerRegistry]:
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed (Debian package docker-registry)")
    folder = tmp_path / "registry"
    folder.mkdir()
    registry = DockerRegistry(folder, free_port())
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., ImageRequest]:
    """Make a request for an image on an empty base, without packages, with a server of the standard library."""
    app, model = tmp_path / "slipway_serving", tmp_path / "model"
    app.mkdir()
    model.mkdir()
    (app / "__init__.py").touch()
    (app / "__main__.py").write_text(APP)
    (model / "MLmodel").write_text("flavors: {}\n")
    lock = DependencyLock.from_text("", key="k", python=HERE, platform="linux/amd64")

    def make(tag: str, repository: str = "slipway/flights", base: str = "scratch") -> ImageRequest:
        return ImageRequest(repository, tag, base, HERE, "linux/amd64", lock, app, model)

    return make


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(150):
            file.write(os.urandom(1 << 20))
    return path
