"""Blobs on their way into a registry."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from slipway.images.progress import byte_counter
from slipway.images.registry import PutOutcome

if TYPE_CHECKING:
    from slipway.images.base import BlobSource
    from slipway.images.layer import Layer, LocalLayer
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

    Args:
        source: where it is.
        registry: where it shall be.
        repository: where there.
        layer: which one.
        folder: for the file on its way.
        on_progress: told the bytes sent.
    """
    same = source.registry.host == registry.host
    with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as work:
        path = Path(work) / "blob"

        def open_body() -> BinaryIO:
            if not path.exists():
                source.registry.download_blob(source.repository, layer.digest, path, size=layer.size)
            return path.open("rb")

        return registry.put_blob(
            repository,
            layer.digest,
            layer.size,
            open_body,
            mount_from=source.repository if same and source.repository != repository else None,
            on_bytes=byte_counter("push", layer.digest, layer.size, on_progress),
        )
