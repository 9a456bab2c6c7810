"""One running container."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from slipway_localaws.hosting.container_process import ContainerProcess
from slipway_localaws.hosting.images import UnpackedImage
from slipway_localaws.hosting.launch_spec import PORT_VARIABLE, SERVE, plan_launch
from slipway_localaws.runtime.http_client import ConnectionPool, HttpFailure

#: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html#your-algorithms-inference-algo-ping-requests
PING_SECONDS = 2.0
INVOCATION_SECONDS = 60.0
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
            spec = plan_launch(
                image, {**environment, PORT_VARIABLE: str(self.port)}, self._scratch, interpreters, argument=SERVE
            )
            self._process = ContainerProcess(spec, scratch.name, on_output)
        except BaseException:
            self._release()
            raise
        self.connections = ConnectionPool(self.port)

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.exit_code

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
        self._process.stop()
        self._release()

    def _release(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        with _ports_lock:
            _given_ports.discard(self.port)


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
