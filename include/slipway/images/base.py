"""The image that a release is built on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slipway.errors import BaseImageError
from slipway.images.auth import ChallengeAuth
from slipway.images.docker_login import docker_login
from slipway.images.manifest import LISTS, MANIFESTS, layers_of, pick_platform
from slipway.images.reference import parse_reference
from slipway.images.registry import RegistryClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.layer import Layer
    from slipway.images.reference import Reference
    from slipway.images.registry import StoredManifest

SCRATCH = "scratch"  # an empty base: the host that runs the image supplies the interpreter
PYTHON_LABEL = "io.slipway.python"


@dataclass(frozen=True)
class BlobSource:
    """Where the bytes of a base image's layers can be had."""

    registry: RegistryClient
    repository: str


@dataclass(frozen=True)
class BaseImage:
    """A base image, pinned.

    ``digest`` is its manifest's for one platform (or ``scratch``), ``config`` its config document, ``python`` the minor
    version of the interpreter that it declares (None when it says nothing), ``source`` where its layers are.
    """

    reference: str
    digest: str
    platform: str
    layers: tuple[Layer, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    python: str | None = None
    source: BlobSource | None = None


def choose_base(base_images: Mapping[str, str], python: str) -> str:
    """Return the base image reference for Python ``python`` (such as ``3.11``) from the platform's table.

    Raises:
        BaseImageError: the table has no image for that version.
    """
    try:
        return base_images[python]
    except KeyError:
        known = ", ".join(sorted(base_images)) or "none"
        raise BaseImageError(
            f"the model needs Python {python}, platform.yaml has base images for {known}: "
            f'add base_images: {{"{python}": <image with Python {python}>}} there'
        ) from None


def pin(reference: str, digest: str) -> str:
    """Return a reference that stays what it is now: with the digest that `resolve_base` found."""
    return reference if reference == SCRATCH else f"{reference.partition('@')[0]}@{digest}"


def resolve_base(reference: str, *, platform: str = "linux/amd64", registry: RegistryClient | None = None) -> BaseImage:
    """Look up a base image and pin it by digest.

    Args:
        reference: image name, or ``scratch`` for an empty base.
        platform: operating system and architecture, such as ``linux/amd64``.
        registry: client to use when the reference names its host; others are asked with the account that this machine
            has there by ``docker login``, without one anonymously.

    Raises:
        BaseImageError: no such image, none for the platform, or layers that a release cannot carry.
        RegistryUnavailableError: its registry does not answer.
        AccessDeniedError: its registry does not let us read it, or our account there cannot be read.
    """
    if reference == SCRATCH:
        return BaseImage(SCRATCH, SCRATCH, platform)
    name = parse_reference(reference)
    client = registry if registry and registry.serves(name.host) else _client(name)
    manifest = _manifest(client, name.repository, name.target, reference, platform)
    document = manifest.document
    config = json.loads(client.get_blob(name.repository, document["config"]["digest"]))
    return BaseImage(
        reference=reference,
        digest=manifest.digest,
        platform=platform,
        layers=layers_of(document, config),
        config=config,
        python=declared_python(config),
        source=BlobSource(client, name.repository),
    )


def _client(name: Reference) -> RegistryClient:
    return RegistryClient(name.url, ChallengeAuth(docker_login(name.host)))


def _manifest(client: RegistryClient, repository: str, target: str, reference: str, platform: str) -> StoredManifest:
    found = client.get_manifest(repository, target)
    if found and found.media_type in LISTS:
        found = client.get_manifest(repository, pick_platform(found.document, platform))
    if not found:
        raise BaseImageError(f"there is no base image {reference}: correct base_images in platform.yaml")
    if found.media_type not in MANIFESTS:
        raise BaseImageError(f"{reference} is of type {found.media_type!r}; a base must be a Docker or OCI image")
    return found


def declared_python(config: Mapping[str, Any]) -> str | None:
    """Read the minor Python version from an image's config: our label, or what Docker's official images set."""
    run = config.get("config") or {}
    label = (run.get("Labels") or {}).get(PYTHON_LABEL)
    variables = dict(entry.partition("=")[::2] for entry in run.get("Env") or [])
    version = label or variables.get("PYTHON_VERSION")
    return ".".join(version.split(".")[:2]) if version else None


def check_python(base: BaseImage, python: str) -> None:
    """Refuse a base whose interpreter is not the one that the model and its lock are for.

    Raises:
        BaseImageError: names both versions and what to set.
    """
    if base.python and base.python != python:
        raise BaseImageError(
            f"the model needs Python {python}, but base image {base.reference} has {base.python}: "
            f'set base_images: {{"{python}": <image with Python {python}>}} in platform.yaml'
        )
