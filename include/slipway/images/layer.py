"""What an image is made of: layers, and the digests that name them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.canonical import content_digest

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """One layer as manifests and configs speak of it.

    ``digest`` and ``size`` (bytes) are those of the gzip stream in the registry, ``diff_id`` is the digest of the
    tar stream inside, ``created_by`` is the line that ``docker history`` shows.
    """

    digest: str
    size: int
    diff_id: str
    created_by: str = ""


@dataclass(frozen=True)
class LocalLayer:
    """A layer whose gzip stream lies in the file ``path``."""

    layer: Layer
    path: Path


def digest_of(data: bytes) -> str:
    """Name ``data`` the way registries do: ``sha256:<hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def content_key(*parts: object) -> str:
    """Derive a tag-safe key (24 hex digits) from JSON-like ``parts``."""
    return content_digest(list(parts))[:24]


def file_digest(path: Path) -> str:
    """Name the content of a file the way registries do."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
