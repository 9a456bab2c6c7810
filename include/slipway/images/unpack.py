"""A release's own files out of its image: packages, server and model, without a Docker engine.

Layers of the base image stay where they are: a process on this machine brings its own interpreter and system.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from isal import igzip

from slipway.errors import RegistryRefusedError
from slipway.images.dependency import CREATED_BY as DEPENDENCIES
from slipway.images.progress import Progress, silent
from slipway.images.runtime import CREATED_BY as MODEL
from slipway.images.serving_app import CREATED_BY as SERVING_APP

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipway.images.inspection import ImageReport
    from slipway.images.layer import Layer
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient

_open_gzip: Callable[[Path, str], BinaryIO] = igzip.open  # several times as fast as the standard library's


def own_layers(report: ImageReport) -> tuple[Layer, ...]:
    """Return the layers that Slipway made, lowest first."""
    return tuple(layer for layer in report.layers if layer.created_by.startswith((DEPENDENCIES, SERVING_APP, MODEL)))


def unpack_release(
    registry: RegistryClient, repository: str, report: ImageReport, folder: Path, on_progress: OnProgress = silent
) -> Path:
    """Fetch and unpack a release, once.

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
    """
    layers = own_layers(report)
    if not layers:
        raise RegistryRefusedError(
            f"{repository}@{report.digest} has no layers of Slipway's builder: run it with a Docker engine instead"
        )
    final = folder.resolve() / report.digest.removeprefix("sha256:")
    if final.exists():
        return final
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".unpack-", dir=folder))
    try:
        root = work / "root"
        root.mkdir()
        for layer in layers:
            blob = work / "layer"
            registry.download_blob(repository, layer.digest, blob, size=layer.size)
            _extract(blob, root, layer)
            on_progress(Progress("unpacked", layer.created_by.partition(":")[0], layer.size, layer.size))
        root.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def _extract(blob: Path, root: Path, layer: Layer) -> None:
    try:
        with _open_gzip(blob, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            archive.extractall(root, filter="data")
    except (tarfile.TarError, EOFError, igzip.BadGzipFile) as error:
        raise RegistryRefusedError(f"layer {layer.digest} cannot be unpacked: {error}") from error
