"""How the stand-in is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """How the stand-in is started.

    Args:
        host, port: where to listen.
        state: the folder that keeps everything.
        threads: requests answered at the same time.
        transition_seconds: how long a change of weights or capacities takes.
        max_processes: most containers that a variant gets.
        max_startup_seconds: cap on start-up health checks.
        scaling_period_seconds: period of the scaling policies' metrics; AWS's is 60.
    """

    host: str
    port: int
    state: Path
    threads: int = 32
    transition_seconds: float = 0.5
    max_processes: int = 1
    max_startup_seconds: float = float("inf")
    scaling_period_seconds: int = 60


def own_url(settings: Settings) -> str:
    """Where programs on this machine find the stand-in."""
    host = "127.0.0.1" if settings.host in {"", "0.0.0.0", "::"} else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
