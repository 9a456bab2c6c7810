"""One running container."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from slipway_localaws.hosting.images import UnpackedImage
from slipway_localaws.hosting.launch_spec import SHIM, plan_launch
from slipway_localaws.runtime.http_client import ConnectionPool, HttpFailure

#: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html#your-algorithms-inference-algo-ping-requests
PING_SECONDS = 2.0
INVOCATION_SECONDS = 60.0
_STOP_SECONDS = 15.0
_given_ports: set[int] = set()
_ports_lock = threading.Lock()


class Container:
    """A process (with its children) that serves a model.

    Args:
        image: what it runs.
        environment: the model's environment.
        scratch: a folder of its own, removed when it stops.
        interpreters: where lent interpreters are kept.
        on_output: gets every line that it prints.

    Raises:
        CannotStartError: it could not be started.
    """

    def __init__(
        self,
        image: UnpackedImage,
        environment: dict[str, str],
        *,
        scratch: Path,
        interpreters: Path,
        on_output: Callable[[str], None],
    ) -> None:
        self.port = _free_port()
        self._scratch = scratch
        try:
            spec = plan_launch(image, environment, self.port, self._scratch, interpreters)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={},
            )
        except BaseException:
            self._release()
            raise
        self.connections = ConnectionPool(self.port)
        self._on_output = on_output
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(spec.as_dict()).encode() + b"\n")
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read_output, name=f"output-{scratch.name}", daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def ping(self) -> bool:
        """Whether ``/ping`` answers 200 within SageMaker's two seconds."""
        try:
            return self.connections.request("GET", "/ping", {}, b"", timeout=PING_SECONDS).status == 200
        except HttpFailure:
            return False

    def wait_healthy(self, deadline: float, stopped: threading.Event) -> bool:
        """Ping until it answers, it ends, ``deadline`` (on the monotonic clock) passes or somebody sets ``stopped``."""
        pause = 0.02
        while time.monotonic() < deadline and not stopped.is_set():
            if self.exit_code is not None:
                return False
            if self.ping():
                return True
            stopped.wait(pause)
            pause = min(pause * 1.5, 0.5)
        return False

    def stop(self) -> None:
        """End it and everything it started; returns when it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(2)
        self._release()

    def _release(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        with _ports_lock:
            _given_ports.discard(self.port)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._on_output(line.decode("utf-8", "replace").rstrip("\n"))


def _free_port() -> int:
    """A loopback port that nobody listens on and that no other container was given."""
    with _ports_lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in _given_ports:
                _given_ports.add(port)
                return port
