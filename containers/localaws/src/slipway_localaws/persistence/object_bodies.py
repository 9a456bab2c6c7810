"""Bodies of S3 objects as files; a pickle of S3 holds only their names."""

from __future__ import annotations

import tempfile
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import moto.s3.models
from moto.core.common_models import BaseModel
from moto.s3.models import FakeKey

from slipway_localaws.patching import replace

_YOUNG_SECONDS = 60.0


class BodyFile:
    """Stands where moto keeps an object's value: a file with one of its few methods each.

    Args:
        folder: where the files are.
        name: the file's name; made up when not given.
    """

    folder: Path = Path()

    def __init__(self, name: str = "") -> None:
        self.name = name or uuid.uuid4().hex
        self._position = 0

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / self.name[:2] / self.name

    def seek(self, position: int) -> None:
        """Read or write from here next."""
        self._position = position

    def truncate(self) -> None:
        """Nothing: moto only ever replaces the whole value."""

    def write(self, data: bytes) -> None:
        """Replace the whole value."""
        self.path.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as draft:
            draft.write(data)
        Path(draft.name).replace(self.path)

    def read(self, size: int = -1) -> bytes:
        """Bytes from the current position on."""
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read(size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Nothing: a file that nobody refers to any more is swept after the next save."""


def install(folder: Path) -> None:
    """Let moto's S3 keep its values in ``folder``."""
    BodyFile.folder = folder
    replace(moto.s3.models, "tempfile", SimpleNamespace(SpooledTemporaryFile=lambda *_, **__: BodyFile()))  # type: ignore[arg-type]
    replace(FakeKey, "__getstate__", _get_state)
    replace(FakeKey, "__setstate__", _set_state)
    replace(BaseModel, "__new__", _new_untracked)


_saved_names: set[str] = set()


def names_saved_since() -> set[str]:
    """Names of the bodies that went into pickles since the last call."""
    global _saved_names
    names, _saved_names = _saved_names, set()
    return names


def sweep(folder: Path, used: set[str]) -> int:
    """Delete the bodies that are not ``used`` and not brand-new; returns how many."""
    oldest_kept = time.time() - _YOUNG_SECONDS
    swept = 0
    for path in folder.glob("??/*"):
        if path.name not in used and path.stat().st_mtime < oldest_kept:
            path.unlink(missing_ok=True)
            swept += 1
    return swept


def _get_state(self: FakeKey) -> dict[str, Any]:
    state = self.__dict__.copy()
    name = state.pop("_value_buffer").name
    _saved_names.add(name)
    del state["lock"]
    return {**state, "body": name}


def _set_state(self: FakeKey, state: dict[str, Any]) -> None:
    import threading

    name = state.pop("body")
    self.__dict__.update(state)
    self._value_buffer = BodyFile(name)  # type: ignore[assignment]
    self.lock = threading.Lock()


def _new_untracked(cls: type[Any], *_: Any, **__: Any) -> Any:
    """moto keeps every object that it ever made in a list for its decorators to reset; a server must forget them."""
    return object.__new__(cls)
