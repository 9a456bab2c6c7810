"""Settings of the server, read once from the environment of the container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipway_serving.engines.record import needs_jvm, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping

SAGEMAKER_MODEL_DIR = Path("/opt/ml/model")
BAKED_MODEL_DIR = Path("/opt/slipway/model")
MEGABYTE = 1024 * 1024


class SettingsError(ValueError):
    """An environment variable holds what the server cannot use."""


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Parameters
    ----------
    model_dir
        Folder with the ``MLmodel`` file.
    host, port
        Address to listen on. SageMaker calls port 8080 of every interface.
    workers
        Processes that score, unless ``MODEL_SERVER_WORKERS`` says otherwise one per usable core; one in all for a
        model that Spark answers, since each has a JVM of its own.
    timeout_seconds
        Longest time from a request's arrival to its answer; 504 after that. SageMaker gives up at 60 s.
    queue_limit
        Requests that may wait or run in one worker; more are refused with 503 and ``Retry-After``.
    max_body_bytes
        Largest request body; larger ones are refused with 413.
    drain_seconds
        Time after SIGTERM in which accepted requests are still answered.
    access_log
        Whether each request is written to standard output as one line of JSON.
    explain
        ``contributions`` adds per-feature contributions to answers, empty adds nothing.
    """

    model_dir: Path
    host: str = "0.0.0.0"
    port: int = 8080
    workers: int = 1
    timeout_seconds: float = 60.0
    queue_limit: int = 64
    max_body_bytes: int = 25 * MEGABYTE
    drain_seconds: float = 25.0
    access_log: bool = True
    explain: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings.

        Returns
        -------
        Settings
            Validated settings; unset variables take the defaults above.

        Raises
        ------
        SettingsError
            A variable is not a number, out of its range, or no model is where it should be.
        """
        read = _Reader(environment)
        explain = environment.get("SLIPWAY_EXPLAIN", "")
        if explain not in {"", "contributions"}:
            raise SettingsError(f"SLIPWAY_EXPLAIN is {explain!r}; it may be empty or 'contributions'")
        model_dir = _find_model_dir(environment)
        workers = 1 if needs_jvm(read_record(model_dir)) else usable_cores()
        return cls(
            model_dir=model_dir,
            host=environment.get("SLIPWAY_BIND_HOST", cls.host),
            port=read.integer("SAGEMAKER_BIND_TO_PORT", cls.port, 1, 65535),
            workers=read.integer("MODEL_SERVER_WORKERS", workers, 1, 256),
            timeout_seconds=read.number("MODEL_SERVER_TIMEOUT", cls.timeout_seconds, 0.1, 3600),
            queue_limit=read.integer("SLIPWAY_QUEUE_LIMIT", cls.queue_limit, 1, 100_000),
            max_body_bytes=int(
                read.number("SLIPWAY_MAX_PAYLOAD_MB", cls.max_body_bytes / MEGABYTE, 0.001, 1024) * MEGABYTE
            ),
            drain_seconds=read.number("SLIPWAY_DRAIN_SECONDS", cls.drain_seconds, 0, 3600),
            access_log=environment.get("SLIPWAY_ACCESS_LOG", "on").lower() not in {"off", "0", "false", "no"},
            explain=explain,
        )


class _Reader:
    """Reads bounded numbers from the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def number(self, name: str, default: float, low: float, high: float) -> float:
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            raise SettingsError(f"{name} is {text!r}; expected a number from {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise SettingsError(f"{name} is {text}; expected a number from {low:g} to {high:g}")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        value = self.number(name, default, low, high)
        if value != int(value):
            raise SettingsError(f"{name} is {value}; expected a whole number")
        return int(value)


def _find_model_dir(environment: Mapping[str, str]) -> Path:
    """Return the folder of the model: SageMaker's own when it holds one, else the one in the image."""
    baked = Path(environment.get("SLIPWAY_MODEL_DIR", BAKED_MODEL_DIR))
    for folder in (SAGEMAKER_MODEL_DIR, baked):
        if (folder / "MLmodel").is_file():
            return folder
    raise SettingsError(f"no MLmodel file in {SAGEMAKER_MODEL_DIR} or {baked}; set SLIPWAY_MODEL_DIR")


def usable_cores() -> int:
    """Return how many cores this process may use: affinity, then the container's CPU quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            cores = min(cores, max(1, int(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return cores
