"""Blobs on their way into a registry."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.images.layer import LocalLayer
from slipway.images.progress import byte_counter
from slipway.images.registry import PutOutcome

if TYPE_CHECKING:
    from slipway.images.base import BlobSource
    from slipway.images.layer import Layer
    from slipway.images.manifest import Image
    from slipway.images.progress import OnProgress
    from slipway.images.registry import RegistryClient


def push_layer(registry: RegistryClient, repository: str, local: LocalLayer, on_progress: OnProgress) -> PutOutcome:
    """Send a layer that lies on this machine, unless the repository has it."""
    layer = local.layer
    return registry.put_blob(
        repository,
        layer.digest,
        layer.size,
        lambda: local.path.open("rb"),
        on_bytes=byte_counter("push", layer.digest, layer.size, on_progress),
    )


def push_config(registry: RegistryClient, repository: str, image: Image) -> PutOutcome:
    """Send an image's config, unless the repository has it."""
    return registry.put_blob(repository, image.config_digest, len(image.config), lambda: io.BytesIO(image.config))


def copy_layer(
    source: BlobSource, registry: RegistryClient, repository: str, layer: Layer, folder: Path, on_progress: OnProgress
) -> PutOutcome:
    """Bring a base image's layer into ``repository``: mounted within one registry, else downloaded and sent.

    It is downloaded whole before anything is sent, so that what goes wrong at the source is not taken for a fault of
    the registry that it goes to.

    Args:
        source: where it is.
        registry: where it shall be.
        repository: where there.
        layer: which one.
        folder: for the file on its way.
        on_progress: told the bytes sent.

    Raises:
        RegistryUnavailableError, RegistryRefusedError, AccessDeniedError: of either registry, which the message names.
    """
    if registry.has_blob(repository, layer.digest):
        return PutOutcome.EXISTS
    elsewhere_here = source.registry.host == registry.host and source.repository != repository
    if elsewhere_here and registry.mount_blob(repository, layer.digest, source.repository):
        return PutOutcome.MOUNTED
    with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as work:
        path = Path(work) / "blob"
        source.registry.download_blob(source.repository, layer.digest, path, size=layer.size)
        return push_layer(registry, repository, LocalLayer(layer, path), on_progress)
