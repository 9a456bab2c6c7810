"""A release's own files out of its image: packages, server and model, without a Docker engine.

Layers of the base image stay where they are: a process on this machine brings its own interpreter and system.
"""

from __future__ import annotations

import re
import tarfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from isal import igzip

from slipway.errors import PermanentError, RegistryRefusedError
from slipway.images.cache import CACHE_VARIABLE, work_folder
from slipway.images.dependency import CREATED_BY as DEPENDENCIES
from slipway.images.progress import Progress, silent
from slipway.images.runtime import CREATED_BY as MODEL
from slipway.images.serving_app import CREATED_BY as SERVING_APP
from slipway.kept_folders import in_use, note_use, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slipway.images.inspection import ImageReport
    from slipway.images.layer import Layer
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient

LIMIT_BYTES = 10 << 30  # of the releases that are kept
_RELEASE = re.compile(r"[0-9a-f]{64}")
_open_gzip: Callable[[Path, str], BinaryIO] = igzip.open  # several times as fast as the standard library's


def own_layers(report: ImageReport) -> tuple[Layer, ...]:
    """Return the layers that Slipway made, lowest first."""
    return tuple(layer for layer in report.layers if layer.created_by.startswith((DEPENDENCIES, SERVING_APP, MODEL)))


@contextmanager
def unpacked_release(
    registry: RegistryClient, repository: str, report: ImageReport, folder: Path, on_progress: OnProgress = silent
) -> Iterator[Path]:
    """Fetch and unpack a release as `unpack_release` does; no other process drops it during the block."""
    with ExitStack() as stack:
        with _disk_errors(folder):
            stack.enter_context(in_use(_place(folder, report)))
        yield unpack_release(registry, repository, report, folder, on_progress)


def unpack_release(
    registry: RegistryClient, repository: str, report: ImageReport, folder: Path, on_progress: OnProgress = silent
) -> Path:
    """Fetch and unpack a release, once. Of others that are kept, those used longest ago go when there are too many.

    Args:
        registry: where its image is.
        repository: the image's repository.
        report: the image.
        folder: unpacked releases are kept below it, by digest.
        on_progress: told each layer.

    Returns:
        The folder that holds ``opt/slipway/…``.

    Raises:
        RegistryRefusedError: the image was not built by Slipway's own builder, or a layer leads out of its folder.
        RegistryUnavailableError, AccessDeniedError: of the registry.
        PermanentError: the folder cannot be written, or its disk is full.
    """
    layers = own_layers(report)
    if not layers:
        raise RegistryRefusedError(
            f"{repository}@{report.digest} has no layers of Slipway's builder: run it with a Docker engine instead"
        )
    final = _place(folder, report)
    if not final.exists():
        with _disk_errors(folder), work_folder(folder, ".unpack-") as work:
            root = work / "root"
            root.mkdir()
            for layer in layers:
                blob = work / "layer"
                registry.download_blob(repository, layer.digest, blob, size=layer.size)
                _extract(blob, root, layer)
                on_progress(Progress("unpacked", layer.created_by.partition(":")[0], layer.size, layer.size))
            _settle(root, final)
        prune((path for path in final.parent.iterdir() if _RELEASE.fullmatch(path.name)), LIMIT_BYTES)
    note_use(final)
    return final


def _place(folder: Path, report: ImageReport) -> Path:
    return folder.resolve() / report.digest.removeprefix("sha256:")


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say what this machine's disk refuses."""
    try:
        yield
    except OSError as error:
        raise PermanentError(
            f"the release cannot be unpacked below {folder}: {error.strerror or error}. Make room there, or name "
            f"another folder by {CACHE_VARIABLE}"
        ) from error


def _settle(root: Path, final: Path) -> None:
    """Give the unpacked files their place, unless another process was faster: its files are as good."""
    root.touch()
    try:
        root.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _extract(blob: Path, root: Path, layer: Layer) -> None:
    try:
        with _open_gzip(blob, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            archive.extractall(root, filter="data")
    except (tarfile.TarError, EOFError, igzip.BadGzipFile) as error:
        raise RegistryRefusedError(f"layer {layer.digest} cannot be unpacked: {error}") from error
