"""Image layers unpacked into folders of their own, and root file systems put together from them.

Each layer is unpacked once and kept; a root file system is made of hard links, so that a new release that shares
its dependencies with the last one is there in a moment.
Whiteouts: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

from slipway_localaws.hosting.scoped_path import UnsafePathError, lexical, resolve_in

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_COPY_BYTES = 1024 * 1024


class LayerError(ValueError):
    """A layer cannot be unpacked."""


def unpack_layer(blob: Path, folder: Path) -> Path:
    """Unpack one layer, once.

    Args:
        blob: the layer as pushed: a tar, plain or gzip.
        folder: where unpacked layers are kept.

    Returns:
        The layer's folder: ``files`` and ``whiteouts.json`` in it.

    Raises:
        LayerError: not a tar, an unknown compression, or members that lead out of the folder.
    """
    done = folder / blob.name
    if (done / "whiteouts.json").exists():
        return done
    draft = Path(tempfile.mkdtemp(prefix=f".{blob.name[:12]}-", dir=folder))
    try:
        files = draft / "files"
        files.mkdir()
        whiteouts = extract_archive(blob, files)
        (draft / "whiteouts.json").write_text(json.dumps(whiteouts))
        draft.chmod(0o755)
        with contextlib.suppress(FileExistsError):  # another thread was faster
            draft.rename(done)
    except (tarfile.TarError, OSError, UnsafePathError, EOFError, zlib.error) as error:
        raise LayerError(f"layer sha256:{blob.name} cannot be unpacked: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return done


def extract_archive(archive: Path, files: Path) -> list[str]:
    """Unpack a tar, plain or gzip, into a folder that nothing can lead out of.

    Returns:
        The whiteouts in it, which only layers have.

    Raises:
        LayerError, tarfile.TarError, OSError, UnsafePathError, EOFError: it is no such thing, or not safe.
    """
    with archive.open("rb") as raw:
        return _extract(raw, files)


def _extract(raw: BinaryIO, files: Path) -> list[str]:
    magic = raw.read(4)
    raw.seek(0)
    if magic == _ZSTD_MAGIC:
        raise LayerError("zstd layers are not supported (SageMaker's hosts may not read them either): use gzip")
    stream = gzip.GzipFile(fileobj=raw) if magic[:2] == _GZIP_MAGIC else raw
    whiteouts: list[str] = []
    times: list[tuple[Path, float]] = []
    with tarfile.open(fileobj=stream, mode="r|", bufsize=tarfile.RECORDSIZE) as archive:
        for member in archive:
            path = lexical(member.name)
            if path.name.startswith(_WHITEOUT):
                whiteouts.append(str(path))
            elif path.parts:
                _extract_member(archive, member, files, str(path), times)
    for folder, mtime in reversed(times):
        os.utime(folder, (mtime, mtime))
    return whiteouts


def _extract_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, files: Path, name: str, times: list[tuple[Path, float]]
) -> None:
    target = resolve_in(files, name, follow_last=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        target.mkdir(exist_ok=True)
        target.chmod(stat.S_IMODE(member.mode) & 0o1777 | stat.S_IRWXU)
        times.append((target, member.mtime))
        return
    if target.is_symlink() or target.is_file():
        target.unlink()
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        os.link(resolve_in(files, str(lexical(member.linkname)), follow_last=False), target)
    elif member.isfile():
        content = archive.extractfile(member)
        if content is not None:
            with content, target.open("wb") as file:
                shutil.copyfileobj(content, file, _COPY_BYTES)
        target.chmod(stat.S_IMODE(member.mode) & 0o777)
        os.utime(target, (member.mtime, member.mtime))
    # Devices and FIFOs are left out: a container gets its /dev from the host.


def assemble(layers: list[Path], rootfs: Path) -> None:
    """Put unpacked layers on top of each other, lowest first, in a new folder.

    Raises:
        LayerError: two layers do not fit on each other.
    """
    rootfs.mkdir(parents=True)
    for layer in layers:
        try:
            for whiteout in json.loads((layer / "whiteouts.json").read_text()):
                _apply_whiteout(rootfs, whiteout)
            _link_tree(layer / "files", rootfs, "")
        except (OSError, UnsafePathError) as error:
            raise LayerError(f"layer {layer.name} does not fit on the ones below it: {error}") from error


def _apply_whiteout(rootfs: Path, whiteout: str) -> None:
    folder, _, name = whiteout.rpartition("/")
    holder = resolve_in(rootfs, folder)
    if name == _OPAQUE:
        for entry in holder.iterdir() if holder.is_dir() else ():
            _remove(entry)
        return
    _remove(holder / name.removeprefix(_WHITEOUT))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link_tree(source: Path, rootfs: Path, relative: str) -> None:
    target = resolve_in(rootfs, relative)
    if target.is_file():
        target.unlink()
    target.mkdir(parents=True, exist_ok=True)
    shutil.copystat(source, target)
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{relative}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _link_tree(Path(entry.path), rootfs, place)
                continue
            destination = target / entry.name
            if destination.is_symlink() or destination.exists():
                _remove(destination)
            os.link(entry.path, destination, follow_symlinks=False)
