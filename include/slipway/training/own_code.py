"""The service's own files in ``retrainers/``, for a training that runs where they are not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from slipway.errors import InvalidInputError

_MOST_BYTES = 20_000_000
_MOST_FILES = 500


def own_files(folder: Path, named: Sequence[str | None]) -> dict[str, Path]:
    """List what has to travel with a training.

    Args:
        folder: ``retrainers/`` of the project.
        named: ``file.py:name`` of what the spec names, or None; without any nothing travels.

    Returns:
        Every file of the folder by its path below it, since a named one may read those beside it; hidden ones and
        Python's caches are left out.

    Raises:
        InvalidInputError: A named file is not there, or the folder holds what nobody would send.
    """
    wanted = {name.partition(":")[0]: name for name in named if name}
    if not wanted:
        return {}
    found: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each != "__pycache__")
        for name in sorted(names):
            file = Path(place) / name
            if not name.startswith(".") and file.is_file():
                found[file.relative_to(folder).as_posix()] = file
    for missing in sorted(set(wanted) - set(found)):
        raise InvalidInputError(f"The spec names {wanted[missing]}, and there is no {folder / missing}.")
    size = sum(file.stat().st_size for file in found.values())
    if size > _MOST_BYTES or len(found) > _MOST_FILES:
        raise InvalidInputError(
            f"{folder} holds {len(found)} files of {size / 1e6:.1f} MB together, all of which travel with a training; "
            f"expected at most {_MOST_FILES} files and {_MOST_BYTES / 1e6:.0f} MB. Keep data elsewhere."
        )
    return found
