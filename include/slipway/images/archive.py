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
from typing import TYPE_CHECKING, BinaryIO, cast

from isal import isal_zlib

from slipway.errors import UnsafePathError
from slipway.images.layer import Layer, LocalLayer
from slipway.images.progress import byte_counter, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.images.progress import OnProgress

GZIP_LEVEL = 2  # of isal's 0..3: within 20 % of zlib-6 in size, five times as fast
_GZIP_WINDOW = 31  # zlib's window bits for a gzip header, which then carries no time
_TAR_RECORD = 1 << 16  # tarfile copies its whole buffer for each write: larger records cost quadratic time
_WRITE_BUFFER = 1 << 20
_WHITEOUT = ".wh."


class _LayerSink(io.RawIOBase):
    """Takes the tar stream; hashes it, compresses it, hashes and writes the result."""

    def __init__(self, file: BinaryIO, on_write: Callable[[int], None]) -> None:
        self._file = file
        self._on_write = on_write
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
        self._tar_hash = hashlib.sha256()
        self._gzip_hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override]
        self._tar_hash.update(data)
        self._emit(self._compressor.compress(data))
        self._on_write(len(data))
        return len(data)

    def finish(self) -> None:
        """Write what the compressor still holds; without it the layer would be cut short under a valid digest."""
        self._emit(self._compressor.flush())

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


def write_layer(
    source: Path, prefix: str, out_dir: Path, *, created_by: str = "", on_progress: OnProgress = silent
) -> LocalLayer:
    """Pack the tree below ``source`` as a layer that appears at ``prefix`` in the image.

    Args:
        source: folder to pack; its own name does not matter.
        prefix: absolute folder in the image, such as ``/opt/slipway/model``.
        out_dir: folder that receives the gzip file, named after its digest.
        created_by: line for the image's history.
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
            sink = _LayerSink(file, _counter(source, prefix, on_progress))
            with io.BufferedWriter(cast("io.RawIOBase", sink), _WRITE_BUFFER) as buffered:
                _write_tar(source, prefix, buffered)
                buffered.flush()
                sink.finish()
        layer = sink.layer(created_by)
        path = out_dir / layer.digest.replace(":", "-")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return LocalLayer(layer, path)


def _counter(source: Path, item: str, on_progress: OnProgress) -> Callable[[int], None]:
    total = sum(path.lstat().st_size for path in _walk(source) if path.is_file() and not path.is_symlink())
    tell = byte_counter("compress", item, total, on_progress)
    done = 0

    def count(written: int) -> None:
        nonlocal done
        done += written
        tell(min(done, total))

    return count


def _write_tar(source: Path, prefix: str, stream: BinaryIO) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_TAR_RECORD) as tar:
        root = PurePosixPath(prefix.strip("/"))
        for folder in [*reversed(root.parents), root]:
            if folder.name:
                tar.addfile(_entry(str(folder), tarfile.DIRTYPE, 0o755))
        for path in _walk(source):
            _add(tar, source, path, root)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield everything below ``folder``, each folder before its content, in the byte order of names."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in ordered:
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _add(tar: tarfile.TarFile, source: Path, path: Path, root: PurePosixPath) -> None:
    relative = path.relative_to(source)
    if relative.name.startswith(_WHITEOUT):
        raise UnsafePathError(
            f"{relative}: container engines read names that begin with {_WHITEOUT!r} as deletions; rename the file"
        )
    name = str(root / relative.as_posix())
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
    elif stat.S_ISLNK(status.st_mode):
        entry = _entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = _inner_link(source, path)
        tar.addfile(entry)
    elif stat.S_ISREG(status.st_mode):
        entry = _entry(name, tarfile.REGTYPE, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
        entry.size = status.st_size
        with path.open("rb") as file:
            tar.addfile(entry, file)
    else:
        raise UnsafePathError(f"{relative} is neither a file nor a folder nor a link; an image cannot hold it")


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, 0
    return entry


def _inner_link(source: Path, path: Path) -> str:
    """Return the target of the link ``path`` if it is relative and stays below ``source``."""
    target = str(path.readlink())
    landing = os.path.normpath(path.parent.relative_to(source) / target)
    if Path(target).is_absolute() or landing == ".." or landing.startswith("../"):
        raise UnsafePathError(f"{path.relative_to(source)} links to {target}, outside the folder that is packed")
    return target
