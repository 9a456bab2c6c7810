"""What image manifests say, and which of them SageMaker takes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPES = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)


class InvalidManifestError(ValueError):
    """Not a manifest that the registry takes."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob or a manifest that a manifest points at."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as far as a registry has to understand it."""

    text: str
    media_type: str
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]

    @property
    def digest(self) -> str:
        """Digest of the text, byte for byte."""
        return digest_of(self.text)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers."""
        return (*([self.config] if self.config else []), *self.layers)


def digest_of(text: str) -> str:
    """The digest that names a manifest."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def parse_manifest(text: str, media_type: str = "") -> Manifest:
    """Read a manifest.

    Args:
        text: the JSON as pushed.
        media_type: what the pusher says it is; empty for what the manifest says itself.

    Raises:
        InvalidManifestError: it is no manifest, or of a kind that registries do not take.
    """
    try:
        content = json.loads(text)
        media_type = media_type or content.get("mediaType") or ""
        config = _descriptor(content["config"]) if "config" in content else None
        layers = tuple(_descriptor(layer) for layer in content.get("layers", ()))
        manifests = tuple(_descriptor(entry) for entry in content.get("manifests", ()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidManifestError(f"malformed manifest: {error!r}") from None
    if media_type not in MEDIA_TYPES:
        raise InvalidManifestError(f"unsupported manifest media type {media_type!r}")
    if media_type in {DOCKER_MANIFEST, OCI_MANIFEST} and config is None:
        raise InvalidManifestError("an image manifest needs a config")
    return Manifest(text, media_type, config, layers, manifests)


def _descriptor(content: dict[str, Any]) -> Descriptor:
    return Descriptor(str(content["digest"]), int(content["size"]), str(content.get("mediaType", "")))
