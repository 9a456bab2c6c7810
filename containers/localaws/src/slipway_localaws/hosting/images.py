"""Images by URI: what the registry holds, what SageMaker accepts of it, and its files on disk."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.ecr.models import ecr_backends

from slipway_localaws.hosting.layers import LayerError, assemble, unpack_layer
from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.registry.blobs import BlobStore
from slipway_localaws.registry.manifests import DOCKER_MANIFEST, parse_manifest

_ECR_URI = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(?P<rest>.+)")
_LOCAL_URI = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?/(?P<rest>.+)")
_REST = re.compile(r"(?P<name>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")


class ImageRefusedError(ValueError):
    """SageMaker would not take this image."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image of one of the hosted registries, pinned to its digest."""

    account: str
    region: str
    repository: str
    digest: str
    uri: str

    @property
    def resolved_uri(self) -> str:
        """The URI that DescribeEndpoint shows as ResolvedImage."""
        return f"{self.uri.partition('@')[0].rpartition('/')[0]}/{self.repository.rpartition('/')[2]}@{self.digest}"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image's config says about running it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    working_folder: str = "/"
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image on disk."""

    digest: str
    rootfs: Path
    config: ImageConfig


class ImageStore:
    """Finds images in the registry and unpacks them.

    Args:
        blobs: the registry's blobs.
        layers: folder of unpacked layers.
        images: folder of root file systems.
    """

    def __init__(self, blobs: BlobStore, layers: Path, images: Path) -> None:
        self._blobs = blobs
        self._layers = layers
        self._images = images
        self._lock = threading.Lock()

    def resolve(self, uri: str, *, account: str, region: str) -> ImageReference:
        """Find the image that a model names.

        Args:
            uri: as in CreateModel.
            account, region: the caller's, for URIs that name the stand-in's own address.

        Raises:
            ImageRefusedError: not in a hosted registry, unknown, or with a manifest that SageMaker does not take.
        """
        match = _ECR_URI.fullmatch(uri)
        if match:
            account, region = match["account"], match["region"]
        else:
            match = _LOCAL_URI.fullmatch(uri)
        if match is None:
            raise ImageRefusedError(f'Using non-ECR image "{uri}" without Vpc repository access mode is not supported.')
        parts = _REST.fullmatch(match["rest"])
        if parts is None or not (parts["tag"] or parts["digest"]):
            raise ImageRefusedError(f'ECR image "{uri}" is invalid.')
        with MOTO_LOCK:
            repository = ecr_backends[account][region].repositories.get(parts["name"])
            wanted = parts["digest"] or parts["tag"]
            image = next(
                (
                    each
                    for each in (repository.images if repository else ())
                    if wanted == each.image_digest or wanted in each.image_tags
                ),
                None,
            )
        if image is None:
            raise ImageRefusedError(f"Requested image {uri} not found.")
        if image.image_manifest_media_type != DOCKER_MANIFEST:
            raise ImageRefusedError(
                f"Unsupported manifest media type {image.image_manifest_media_type} for image {uri}. "
                "Ensure that valid manifest media type is used for specified image."
            )
        self._blobs.put(image.image_manifest.encode())  # so that an endpoint outlives the deletion of its image
        return ImageReference(account, region, parts["name"], image.image_digest, uri)

    def unpack(self, digest: str) -> UnpackedImage:
        """The image's files, unpacked when they are not yet.

        Raises:
            LayerError: a blob is missing or cannot be unpacked.
        """
        with self._lock:
            try:
                manifest = parse_manifest(self._blobs.path(digest).read_text())
                assert manifest.config is not None
                config = _parse_config(json.loads(self._blobs.path(manifest.config.digest).read_text()))
                rootfs = self._images / digest.removeprefix("sha256:") / "rootfs"
                if not rootfs.exists():
                    layers = [unpack_layer(self._blobs.path(each.digest), self._layers) for each in manifest.layers]
                    self._assemble(layers, rootfs)
            except FileNotFoundError as error:
                raise LayerError(f"image {digest} is incomplete: {error}") from error
        return UnpackedImage(digest, rootfs, config)

    def own_root(self, image: UnpackedImage, folder: Path) -> UnpackedImage:
        """A root file system of a container's own (links to the shared files), for files that only it gets.

        Raises:
            LayerError: it cannot be put together.
        """
        manifest = parse_manifest(self._blobs.path(image.digest).read_text())
        layers = [unpack_layer(self._blobs.path(each.digest), self._layers) for each in manifest.layers]
        assemble(layers, folder)
        return UnpackedImage(image.digest, folder, image.config)

    def _assemble(self, layers: list[Path], rootfs: Path) -> None:
        rootfs.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".rootfs-", dir=rootfs.parent))
        try:
            assemble(layers, draft / "rootfs")
            (draft / "rootfs").replace(rootfs)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _parse_config(content: dict[str, Any]) -> ImageConfig:
    config = content.get("config") or {}
    pairs = (entry.partition("=") for entry in config.get("Env") or ())
    return ImageConfig(
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        environment={name: value for name, _, value in pairs},
        working_folder=config.get("WorkingDir") or "/",
        user=config.get("User") or "",
        labels=dict(config.get("Labels") or {}),
    )
