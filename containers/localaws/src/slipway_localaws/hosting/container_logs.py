"""What containers print: to a file at once, to CloudWatch Logs in SageMaker's groups and streams a moment later.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from moto.logs.models import LogGroup, logs_backends

from slipway_localaws.patching import MOTO_LOCK

_FLUSH_SECONDS = 0.25
_MAX_FILE_BYTES = 16 * 1024 * 1024
_KEPT_EVENTS = 10_000
_MAX_LINE_CHARS = 256 * 1024


class ContainerLogs:
    """Collects the lines of all containers.

    Args:
        folder: where the log files go.
        on_change: called when CloudWatch Logs got something, with ``logs``.
    """

    def __init__(self, folder: Path, on_change: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_change = on_change
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._pending: dict[tuple[str, str, str, str], list[tuple[int, str]]] = defaultdict(list)
        threading.Thread(target=self._flush_regularly, name="container-logs", daemon=True).start()

    def writer(self, account: str, region: str, group: str, stream: str) -> Callable[[str], None]:
        """A function that takes the lines of one container.

        Args:
            account, region: whose container it is.
            group: the log group; the file lies in a folder of its last part.
            stream: ``<variant>/<instance id>``, or ``<training job>/algo-<n>-<time>``.
        """
        path = self._folder / group.rpartition("/")[2] / f"{stream}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        key = (account, region, group, stream)

        def write(line: str) -> None:
            line = line[:_MAX_LINE_CHARS]
            if path.exists() and path.stat().st_size > _MAX_FILE_BYTES:
                path.replace(path.with_suffix(".1.log"))
            with path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            with self._lock:
                self._pending[key].append((int(time.time() * 1000), line))

        return write

    def flush(self) -> None:
        """Hand everything collected so far to CloudWatch Logs."""
        with self._flushing:
            with self._lock:
                pending, self._pending = self._pending, defaultdict(list)
            if not pending:
                return
            with MOTO_LOCK:
                for (account, region, group, stream), lines in pending.items():
                    backend = logs_backends[account][region]
                    backend.ensure_log_group(group)
                    backend.ensure_log_stream(group, stream)
                    events = [{"timestamp": at, "message": line} for at, line in lines if line]
                    backend.put_log_events(group, stream, events)
                    _trim(backend.groups[group], stream)
        self._on_change("logs")

    def _flush_regularly(self) -> None:
        while True:
            time.sleep(_FLUSH_SECONDS)
            self.flush()


def _trim(group: LogGroup, stream: str) -> None:
    events = group.streams[stream].events
    if len(events) > _KEPT_EVENTS:
        del events[: len(events) - _KEPT_EVENTS]
