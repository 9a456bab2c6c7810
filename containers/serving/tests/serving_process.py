"""A model server in a process of its own, as the image's entrypoint starts it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

JSON = "application/json"


@dataclass
class RunningServer:
    """A server process under test."""

    url: str
    process: subprocess.Popen
    log: Path

    def invoke(self, body: bytes | dict, content_type: str = JSON, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(
            f"{self.url}/invocations", content=content, headers={"content-type": content_type, **headers}, timeout=30
        )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=5)

    def stop(self, timeout: float = 30) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(model_dir: Path, folder: Path, *, wait: bool = True, **environment: str) -> Iterator[RunningServer]:
    """Serve a model in its own process, as the image's entrypoint does."""
    port = free_port()
    log = folder / f"serving-{port}.log"
    settings = {
        "SLIPWAY_MODEL_DIR": str(model_dir),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SLIPWAY_BIND_HOST": "127.0.0.1",
        "MODEL_SERVER_WORKERS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "slipway_serving", "serve"],
            env={**os.environ, **settings, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    server = RunningServer(f"http://127.0.0.1:{port}", process, log)
    try:
        if wait:
            wait_healthy(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_healthy(server: RunningServer, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.url}/ping", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server did not become healthy:\n{server.log.read_text()}")
