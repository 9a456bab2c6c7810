"""Is each part ready to serve?"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import requests

from demo.stack.settings import StackSettings

AIRFLOW_PARTS = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}


def is_ready(name: str, settings: StackSettings, since: float) -> bool:
    """One look at the health page of a part.

    Args:
        name: A component's name.
        settings: Where the stack is.
        since: Its process's start, seconds since the epoch: an older heartbeat is its predecessor's.
    """
    if name == "aws":
        return _get(f"{settings.aws_url}/_localaws/health") is not None
    if name == "mlflow":
        return _get(f"{settings.mlflow_url}/health") is not None
    health = _get(f"{settings.airflow_url}/api/v2/monitor/health")
    if health is None or name == "api-server":
        return health is not None
    part = AIRFLOW_PARTS[name]
    seen = health.json().get(part) or {}
    heartbeat = seen.get(f"latest_{part}_heartbeat") or "1970-01-01T00:00:00+00:00"
    return bool(seen.get("status") == "healthy" and datetime.fromisoformat(heartbeat).timestamp() >= since)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-50:] if line.strip()]
    except OSError:
        lines = []
    if any("No space left on device" in line or "disk is full" in line for line in lines):
        return "the disk is full; free some space"
    return lines[-1][:300] if lines else "it said nothing"


def _get(url: str) -> requests.Response | None:
    try:
        response = requests.get(url, timeout=5)
    except requests.RequestException:
        return None
    return response if response.ok else None
