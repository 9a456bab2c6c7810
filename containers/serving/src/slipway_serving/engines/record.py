"""``engine.json``: which engine serves a model, as it was chosen when its image was built."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ENGINE_FILE = "engine.json"


def read_record(model_dir: Path) -> dict[str, Any]:
    """Read the choice; a model without one is served by ``pyfunc``."""
    path = model_dir / ENGINE_FILE
    if not path.is_file():
        return {"engine": "pyfunc"}
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def needs_jvm(record: dict[str, Any]) -> bool:
    """Say whether Spark answers, in a JVM beside the server."""
    return bool(record.get("jvm"))
