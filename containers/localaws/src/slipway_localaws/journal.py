"""Every request that the stand-in answered, in memory and on disk."""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from slipway_localaws.aws_protocol import Call, is_mutating

_FLUSH_SECONDS = 0.2


class Journal:
    """An append-only list of answered requests.

    The newest entries are kept in memory; older ones are read back from the file. When the file outgrows
    ``max_bytes`` it becomes ``journal.1.jsonl`` (one generation is kept).

    Args:
        path: the file, one JSON object a line; numbering goes on where it ends.
        window: entries kept in memory.
        max_bytes: size at which the file is turned over.
    """

    def __init__(self, path: Path, window: int = 50_000, max_bytes: int = 256 * 1024 * 1024) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=window)
        self._next = _last_number(path) + 1
        self._first_in_memory = self._next
        self._file = path.open("a", encoding="utf-8", buffering=1024 * 1024)
        self._closed = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, name="journal", daemon=True)
        self._flusher.start()

    def record(
        self, call: Call, status: int, request_bytes: int, *, error: str = "", extra: dict[str, Any] | None = None
    ) -> None:
        """Add one answered request.

        Args:
            call: what was asked.
            status: HTTP status of the answer.
            request_bytes: size of the request's body.
            error: AWS error code of a failed request.
            extra: more for the entry's summary.
        """
        summary = {**call.summary, **(extra or {})}
        if error:
            summary["error"] = error
        entry = {
            "n": 0,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "service": call.service,
            "action": call.action,
            "resource": call.resource,
            "status": status,
            "request_bytes": request_bytes,
            "mutating": is_mutating(call.action),
            "summary": summary,
        }
        with self._lock:
            entry["n"] = self._next
            self._next += 1
            if len(self._entries) == self._entries.maxlen:
                self._first_in_memory += 1
            self._entries.append(entry)
            if not self._file.closed:
                self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def since(self, number: int, **wanted: Any) -> dict[str, Any]:
        """Entries from ``number`` on whose fields equal ``wanted``, and the number to ask for next time."""
        with self._lock:
            following = self._next
            skip = max(0, number - self._first_in_memory)
            entries = list(islice(self._entries, skip, None))
            first = self._first_in_memory
        if number < first:
            self.flush()
            entries = [entry for entry in _read(self._path, number) if entry["n"] < first] + entries
        chosen = [entry for entry in entries if all(entry.get(key) == value for key, value in wanted.items())]
        return {"entries": chosen, "next": following}

    def flush(self) -> None:
        """Hand what is buffered to the operating system; turn the file over when it has grown too long."""
        with self._lock:
            if self._file.closed:
                return
            self._file.flush()
            if self._file.tell() > self._max_bytes:
                self._file.close()
                Path(self._path).replace(self._path.with_suffix(".1.jsonl"))
                self._file = self._path.open("a", encoding="utf-8", buffering=1024 * 1024)

    def close(self) -> None:
        """Write everything out; entries recorded later stay in memory only."""
        self._closed.set()
        self._flusher.join()
        self.flush()
        with self._lock:
            self._file.close()

    def _flush_regularly(self) -> None:
        while not self._closed.wait(_FLUSH_SECONDS):
            self.flush()


def _read(path: Path, number: int) -> list[dict[str, Any]]:
    entries = []
    for source in (path.with_suffix(".1.jsonl"), path):
        if not source.exists():
            continue
        with source.open(encoding="utf-8") as lines:
            for line in lines:
                entry = _parse(line)
                if entry and entry["n"] >= number:
                    entries.append(entry)
    return entries


def _parse(line: str) -> dict[str, Any]:
    """One entry, or nothing for a line that a crash cut short."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) and "n" in entry else {}


def _last_number(path: Path) -> int:
    for source in (path, path.with_suffix(".1.jsonl")):
        if not source.exists() or not source.stat().st_size:
            continue
        with source.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")  # a crash cut the last line short: the next one starts on its own
            file.seek(max(0, file.tell() - 256 * 1024))
            tail = file.read().decode("utf-8", "replace").splitlines()
        for line in reversed(tail):
            if entry := _parse(line):
                return int(entry["n"])
    return 0
