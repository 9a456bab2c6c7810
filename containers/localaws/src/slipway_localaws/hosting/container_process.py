"""The process of one container, with everything that it starts, behind the shim."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable

from slipway_localaws.hosting.launch_spec import SHIM, LaunchSpec

_SHIM_SECONDS = 10.0  # that the shim may take beyond what the container is given to end by itself


class ContainerProcess:
    """Starts a container; it ends with this process, however that one ends.

    Args:
        spec: how to start it.
        name: of the thread that reads its output.
        on_output: gets every line that it prints.
    """

    def __init__(self, spec: LaunchSpec, name: str, on_output: Callable[[str], None]) -> None:
        self._grace_seconds = spec.grace_seconds
        self._on_output = on_output
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(spec.as_dict()).encode() + b"\n")
        self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read_output, name=f"output-{name}", daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it and everything it started: SIGTERM, then SIGKILL. Returns when it is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(self._grace_seconds + _SHIM_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(2)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._on_output(line.decode("utf-8", "replace").rstrip("\n"))
