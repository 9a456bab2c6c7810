"""Paths inside a folder that nothing can lead out of."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

_MAX_LINKS = 40


class UnsafePathError(ValueError):
    """A path leads out of its folder, or nowhere."""


def lexical(name: str) -> PurePosixPath:
    """A member's name as a relative path.

    Raises:
        UnsafePathError: it is absolute in disguise, climbs with ``..``, or holds a NUL.
    """
    path = PurePosixPath(name.lstrip("/"))
    if ".." in path.parts or "\0" in name:
        raise UnsafePathError(f"path leaves its folder: {name!r}")
    return path


def resolve_in(root: Path, name: str, *, follow_last: bool = True) -> Path:
    """Where ``name`` is when ``root`` is taken for ``/``: symbolic links are followed, but never out of ``root``.

    Args:
        root: the folder.
        name: a path as seen from inside.
        follow_last: whether a link at the very end is followed as well.

    Raises:
        UnsafePathError: links go round in circles.
    """
    pending = list(reversed(PurePosixPath(name).parts))
    current: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in {"/", "."}:
            continue
        if part == "..":
            current = current[:-1]
            continue
        candidate = root.joinpath(*current, part)
        if (pending or follow_last) and candidate.is_symlink():
            links += 1
            if links > _MAX_LINKS:
                raise UnsafePathError(f"too many symbolic links in {name!r}")
            target = PurePosixPath(candidate.readlink())
            if target.is_absolute():
                current = []
            pending.extend(reversed(target.parts))
            continue
        current.append(part)
    return root.joinpath(*current)
