"""Programs on disk: ``program.json`` says what to do, ``program.npz`` holds the arrays that it refers to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM_FILE = "program.json"
ARRAYS_FILE = "program.npz"
_REFERENCE = "$array"


def save_program(folder: Path, program: dict[str, Any]) -> None:
    """Write a program.

    Parameters
    ----------
    folder
        Where to write both files.
    program
        JSON values and numpy arrays of numbers, at any depth.
    """
    arrays: dict[str, np.ndarray] = {}
    document = _without_arrays(program, arrays)
    (folder / PROGRAM_FILE).write_text(json.dumps(document, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    np.savez(folder / ARRAYS_FILE, **arrays)  # type: ignore[arg-type]


def load_program(folder: Path) -> dict[str, Any]:
    """Read a program; arrays are never unpickled."""
    document = json.loads((folder / PROGRAM_FILE).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
        loaded: dict[str, Any] = _with_arrays(document, arrays)
    return loaded


def _without_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {_REFERENCE: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _without_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, arrays: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_REFERENCE}:
            return arrays[value[_REFERENCE]]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    return value
