"""Folders to layers: a tar stream whose bytes depend on names and contents alone, compressed as it is written.

Equal trees give equal bytes on any machine, day and work directory: entries are sorted, times are 0, owners are root,
modes are folded to 644 and 755. Memory use does not grow with file sizes.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from isal import isal_zlib

from slipway.errors import UnsafePathError
from slipway.images.layer import Layer, LocalLayer
from slipway.images.progress import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.images.progress import OnProgress

GZIP_LEVEL = 2  # of isal's 0..3: within 20 % of zlib-6 in size, five times as fast
_GZIP_WINDOW = 31  # zlib's window bits for a gzip header, which then carries no time
_BLOCK_BYTES = 1 << 18
_BYTECODE = "__pycache__"
_WHITEOUT = ".wh."


class _LayerSink(io.RawIOBase):
    """Takes the tar stream; hashes it, compresses it, hashes and writes the result.

    The compressor is fed in blocks of one size: its output depends on how its input is cut.
    """

    def __init__(self, file: BinaryIO, on_write: Callable[[int], None]) -> None:
        self._file = file
        self._on_write = on_write
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        self._tar_hash = hashlib.sha256()
        self._gzip_hash = hashlib.sha256()
        self._waiting = bytearray()
        self._taken = 0
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._waiting += data
        self._taken += len(data)
        whole = len(self._waiting) - len(self._waiting) % _BLOCK_BYTES
        with memoryview(self._waiting) as view:
            for start in range(0, whole, _BLOCK_BYTES):
                self._compress(view[start : start + _BLOCK_BYTES])
        del self._waiting[:whole]
        return len(data)

    def finish(self) -> None:
        """Write what still waits; without it the layer would be cut short under a valid digest."""
        self._compress(memoryview(self._waiting))
        self._emit(self._compressor.flush())

    def _compress(self, block: memoryview) -> None:
        self._tar_hash.update(block)
        self._emit(self._compressor.compress(block))
        self._on_write(len(block))

    def _emit(self, data: bytes) -> None:
        if data:
            self._gzip_hash.update(data)
            self.size += len(data)
            self._file.write(data)

    def layer(self, created_by: str) -> Layer:
        return Layer(
            digest=f"sha256:{self._gzip_hash.hexdigest()}",
            size=self.size,
            diff_id=f"sha256:{self._tar_hash.hexdigest()}",
            created_by=created_by,
        )


class _Meter:
    """Tells how many of the bytes to pack are done; there may come more to pack on the way."""

    def __init__(self, item: str, on_progress: OnProgress) -> None:
        self._item, self._on_progress = item, on_progress
        self._written = self._told = self._total = 0

    def expect(self, size: int) -> None:
        self._total += size

    def count(self, written: int) -> None:
        self._written += written
        done = min(self._written, self._total)  # what is written has headers, too
        if done != self._told:
            self._told = done
            self._on_progress(Progress("compress", self._item, done, self._total))


class _Found(NamedTuple):
    """Something below the folder that is packed: where it is, its name below that folder, what it is."""

    path: str
    name: str
    status: os.stat_result


def write_layer(
    source: Path,
    prefix: str,
    out_dir: Path,
    *,
    created_by: str = "",
    bytecode: Callable[[], None] | None = None,
    on_progress: OnProgress = silent,
) -> LocalLayer:
    """Pack the tree below ``source`` as a layer that appears at ``prefix`` in the image.

    Args:
        source: folder to pack; its own name does not matter.
        prefix: absolute folder in the image, such as ``/opt/slipway/model``.
        out_dir: folder that receives the gzip file, named after its digest.
        created_by: line for the image's history.
        bytecode: returns when the bytecode below ``source``, still being made, is complete. It is then packed last, so
            that the rest is packed meanwhile.
        on_progress: told the bytes read so far.

    Raises:
        UnsafePathError: the tree holds a link that leaves it, a device, a socket, a pipe, or a name that container
            engines would read as a deletion.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out_dir, prefix=".layer-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            meter = _Meter(prefix, on_progress)
            sink = _LayerSink(file, meter.count)
            _write_tar(_parts(source, bytecode), prefix, sink, meter)
            sink.finish()
        layer = sink.layer(created_by)
        path = out_dir / layer.digest.replace(":", "-")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return LocalLayer(layer, path)


def _parts(source: Path, bytecode: Callable[[], None] | None) -> Iterator[list[_Found]]:
    """Yield what is to be packed, in order, in one part or two: all but the bytecode, and that when it is complete."""
    if bytecode is None:
        yield list(_walk(str(source)))
        return
    first = list(_walk(str(source), leave_out=_BYTECODE))
    yield first
    bytecode()
    folders = ["", *(f"{found.name}/" for found in first if stat.S_ISDIR(found.status.st_mode))]
    yield [found for folder in folders for found in _walk(f"{source}/{folder}", folder, only=_BYTECODE)]


def _walk(folder: str, below: str = "", *, leave_out: str = "", only: str = "") -> Iterator[_Found]:
    """Yield everything below ``folder``, each folder before its content, in the byte order of names.

    Args:
        folder: where.
        below: what names begin with: empty, or ending in a slash.
        leave_out: name of things to leave out, in all folders.
        only: name of the one thing to look at in this folder.
    """
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in ordered:
        if entry.name == leave_out or (only and entry.name != only):
            continue
        found = _Found(entry.path, f"{below}{entry.name}", entry.stat(follow_symlinks=False))
        yield found
        if stat.S_ISDIR(found.status.st_mode):
            yield from _walk(entry.path, f"{found.name}/", leave_out=leave_out)


def _write_tar(parts: Iterator[list[_Found]], prefix: str, sink: _LayerSink, meter: _Meter) -> None:
    stream = cast("BinaryIO", sink)
    with tarfile.TarFile(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, copybufsize=_BLOCK_BYTES) as tar:
        root = PurePosixPath(prefix.strip("/"))
        for folder in [*reversed(root.parents), root]:
            if folder.name:
                tar.addfile(_entry(str(folder), tarfile.DIRTYPE, 0o755))
        for part in parts:
            meter.expect(sum(found.status.st_size for found in part if stat.S_ISREG(found.status.st_mode)))
            for found in part:
                _add(tar, found, f"{root}/{found.name}")


def _add(tar: tarfile.TarFile, found: _Found, name: str) -> None:
    mode = found.status.st_mode
    if name.rpartition("/")[2].startswith(_WHITEOUT):
        raise UnsafePathError(
            f"{found.name}: container engines read names that begin with {_WHITEOUT!r} as deletions; rename the file"
        )
    if stat.S_ISDIR(mode):
        tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
    elif stat.S_ISLNK(mode):
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = _inner_link(found)
        tar.addfile(entry)
    elif stat.S_ISREG(mode):
        entry = _entry(name, tarfile.REGTYPE, 0o755 if mode & stat.S_IXUSR else 0o644)
        entry.size = found.status.st_size
        with Path(found.path).open("rb") as file:
            tar.addfile(entry, file)
    else:
        raise UnsafePathError(f"{found.name} is neither a file nor a folder nor a link; an image cannot hold it")


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 0
    return entry


def _inner_link(found: _Found) -> str:
    """Return the target of a link if it is relative and stays below the folder that is packed."""
    target = str(Path(found.path).readlink())
    landing = os.path.normpath(PurePosixPath(found.name).parent / target)
    if Path(target).is_absolute() or landing == ".." or landing.startswith("../"):
        raise UnsafePathError(f"{found.name} links to {target}, outside the folder that is packed")
    return target
