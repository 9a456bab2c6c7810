"""Throws away what nobody refers to any more, when the stand-in starts."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Iterable, Set
from pathlib import Path

from moto.ecr.models import ecr_backends

from slipway_localaws.registry.blobs import BlobStore
from slipway_localaws.registry.manifests import InvalidManifestError, parse_manifest
from slipway_localaws.sagemaker.records import HostedEndpoint
from slipway_localaws.state_folder import StateFolder

log = logging.getLogger(__name__)
#: A push that was cut short goes on where it stopped when it is tried again within a day.
_YOUNG_SECONDS = 24 * 3600.0


def tidy(folder: StateFolder, blobs: BlobStore, endpoints: Iterable[HostedEndpoint], trained: Set[str]) -> None:
    """Delete blobs, unpacked layers and root file systems that nobody refers to, and containers' leftovers.

    Args:
        folder: the state folder; nothing else may be at work in it yet.
        blobs: the registry's blobs.
        endpoints: the endpoints that are to be hosted again.
        trained: digests of the images of training jobs that are to be run again.
    """
    images = _images(blobs, endpoints) | trained
    kept = images | _parts(images, blobs)
    freed = blobs.sweep(kept, younger_than=_YOUNG_SECONDS)
    for repository in _repositories():
        repository.layers = {
            digest: size for digest, size in repository.layers.items() if blobs.size(digest) is not None
        }
    names = {digest.removeprefix("sha256:") for digest in kept}
    for unpacked in (*folder.layers.iterdir(), *folder.images.iterdir()):
        if unpacked.name not in names and time.time() - unpacked.stat().st_mtime > _YOUNG_SECONDS:
            shutil.rmtree(unpacked, ignore_errors=True)
    shutil.rmtree(folder.containers, ignore_errors=True)
    if freed:
        log.info("freed %.1f MB of the registry", freed / 1e6)


def _repositories() -> list:  # type: ignore[type-arg]
    return [
        repository
        for _, _, backend in list(ecr_backends.iter_backends())
        for repository in backend.repositories.values()  # type: ignore[attr-defined]
    ]


def _images(blobs: BlobStore, endpoints: Iterable[HostedEndpoint]) -> set[str]:
    """Digests of all images that a repository holds or an endpoint runs."""
    held = {image.image_digest for repository in _repositories() for image in repository.images}
    for repository in _repositories():
        for image in repository.images:
            blobs.put(image.image_manifest.encode())
    return held | {variant.digest for endpoint in endpoints for variant in endpoint.plan.variants if variant.digest}


def _parts(images: set[str], blobs: BlobStore) -> set[str]:
    """Digests of the blobs that these images are made of."""
    parts: set[str] = set()
    for digest in images:
        path: Path = blobs.path(digest)
        try:
            parts |= {blob.digest for blob in parse_manifest(path.read_text()).blobs}
        except (FileNotFoundError, InvalidManifestError):
            continue
    return parts
