"""A local folder as one side of a sync.

What is known about a file's content (its tag, the object it was downloaded from) is kept in the file's own extended
attributes together with size and modification time, so that an unchanged file need not be read again. Where a file
system has no such attributes, files are read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slipway.artifacts.content_tag import file_tag
from slipway.artifacts.sync_plan import Entry
from slipway.errors import InvalidInputError, UnsafePathError

_TAG, _ORIGIN = "user.slipway.tag", "user.slipway.origin"
_OURS = re.compile(r"^\.[0-9a-f]{24}\.slipway-(part|done)$")
_HAS_ATTRIBUTES = hasattr(os, "setxattr")


class LocalFolder:
    """Reads, writes and remembers files below a root.

    Args:
        root: the folder; made when something is written to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._safe: set[Path] = set()
        self._leftovers: list[Path] = []

    def path(self, name: str) -> Path:
        """Where a file of that name is, without any check."""
        return self.root / name

    def source_listing(self) -> dict[str, Entry]:
        """The files, with their tags as far as they are remembered.

        Raises:
            InvalidInputError: no such folder.
            UnsafePathError: a link that leaves the folder, a linked folder, or something that is no file.
        """
        if not self.root.is_dir():
            raise InvalidInputError(f"There is no folder {self.root}.")
        listing = {}
        for name, found in self._walk(self.root, ""):
            status = found.stat(follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                status = self._link_target(Path(found.path))
            if not stat.S_ISREG(status.st_mode):
                raise UnsafePathError(f"{found.path} is neither a file nor a folder, so it cannot be copied.")
            _check_encodable(name)
            listing[name] = Entry(name, status.st_size, tag=_recall(found.path, _TAG, status))
        return listing

    def destination_listing(self) -> dict[str, Entry]:
        """The files with what they were downloaded from; links count as different from anything."""
        listing = {}
        for name, found in self._walk(self.root, "") if self.root.is_dir() else ():
            status = found.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                tag, origin = _recall(found.path, _TAG, status), _recall(found.path, _ORIGIN, status)
                listing[name] = Entry(name, status.st_size, tag=tag, origin=origin)
            else:
                listing[name] = Entry(name, -1)
        return listing

    def tag(self, name: str) -> str:
        """A file's content tag, read from the file and remembered."""
        path = self.path(name)
        before = path.stat()
        tag = file_tag(path, before.st_size)
        _remember(path, _TAG, tag, before)
        return tag

    def remember_tag(self, name: str, tag: str, status: os.stat_result) -> None:
        """Note the tag of content that was read when the file had that status."""
        _remember(self.path(name), _TAG, tag, status)

    def remember_origin(self, name: str, tag: str) -> None:
        """Note that a file's present content is that of the source's tag."""
        path = self.path(name)
        _remember(path, _ORIGIN, tag, path.stat())

    def partial(self, name: str) -> tuple[Path, Path]:
        """Where a file is put together: its data, and the list of the pieces that are done. Their folder exists then.

        Raises:
            UnsafePathError: a folder on the way is a link.
        """
        parent = self.path(name).parent
        self._make_folder(parent)
        key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:24]
        return parent / f".{key}.slipway-part", parent / f".{key}.slipway-done"

    def finish(self, name: str, part: Path, tag: str) -> None:
        """Put a complete file in its place at once."""
        _remember(part, _ORIGIN, tag, part.stat())
        try:
            part.replace(self.path(name))
        except IsADirectoryError as error:
            raise UnsafePathError(f"{self.path(name)} is a folder here, but a file at the source.") from error

    def delete(self, name: str) -> None:
        """Remove a file, and the folders that become empty by it."""
        path = self.path(name)
        self._check_folder(path.parent)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def remove_leftovers(self) -> None:
        """Remove what interrupted syncs left and this one had no use for."""
        for path in self._leftovers:
            path.unlink(missing_ok=True)

    def one_case(self) -> bool:
        """Whether this file system takes ``A`` and ``a`` for the same name."""
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".slipway-case-", dir=self.root) as probe:
            return Path(probe.name.upper()).exists() if probe.name.upper() != probe.name else False

    def _walk(self, folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda found: found.name):
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(Path(entry.path), f"{prefix}{entry.name}/")
                elif _OURS.match(entry.name):
                    self._leftovers.append(Path(entry.path))
                else:
                    yield prefix + entry.name, entry

    def _link_target(self, link: Path) -> os.stat_result:
        target = link.resolve()
        if not target.is_relative_to(self.root.resolve()):
            raise UnsafePathError(f"{link} links to {target}, outside of {self.root}: it is not copied.")
        if target.is_dir():
            raise UnsafePathError(f"{link} links to a folder; copy that folder's files instead of the link.")
        return target.stat()

    def _make_folder(self, folder: Path) -> None:
        if folder in self._safe:
            return
        self._check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UnsafePathError(f"{folder} should be a folder, but a file is in the way.") from error
        self._safe.add(folder)

    def _check_folder(self, folder: Path) -> None:
        for part in (folder, *folder.parents):
            if part == self.root:
                return
            if part.is_symlink():
                raise UnsafePathError(f"{part} is a link: nothing is written through it.")


def _check_encodable(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnsafePathError(f"The file name {name!r} is not UTF-8, so no object may have it.") from error


def _recall(path: str, attribute: str, status: os.stat_result) -> str | None:
    if not _HAS_ATTRIBUTES:
        return None
    try:
        size, modified, tag = os.getxattr(path, attribute).decode().split(":", 2)
    except (OSError, ValueError):
        return None
    return tag if (int(size), int(modified)) == (status.st_size, status.st_mtime_ns) else None


def _remember(path: Path, attribute: str, tag: str, status: os.stat_result) -> None:
    if _HAS_ATTRIBUTES:
        with suppress(OSError):
            os.setxattr(path, attribute, f"{status.st_size}:{status.st_mtime_ns}:{tag}".encode())
