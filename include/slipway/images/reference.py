"""Names of images: ``host/repository:tag@digest`` and its short forms."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slipway.errors import BaseImageError

DOCKER_HUB = "registry-1.docker.io"
_HUB_NAMES = {"docker.io", "index.docker.io", DOCKER_HUB}
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


@dataclass(frozen=True)
class Reference:
    """A parsed name. ``digest`` wins over ``tag`` where both are given."""

    host: str
    repository: str
    tag: str = "latest"
    digest: str | None = None

    @property
    def target(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag

    @property
    def url(self) -> str:
        """Base URL of the registry: plain HTTP on loopback, HTTPS everywhere else."""
        return f"{'http' if is_loopback(self.host) else 'https'}://{self.host}"


def is_loopback(host: str) -> bool:
    """Say whether ``host`` (with or without port) is this machine."""
    return re.sub(r":\d+\Z", "", host) in _LOOPBACK


def parse_reference(text: str) -> Reference:
    """Parse an image name as Docker does: no host means Docker Hub, one word there lies in ``library/``.

    Raises:
        BaseImageError: not an image name.
    """
    rest, _, digest = text.partition("@")
    head, _, last = rest.rpartition("/")
    name, _, tag = last.partition(":")
    path = f"{head}/{name}" if head else name
    first, _, remainder = path.partition("/")
    if remainder and ("." in first or ":" in first or first == "localhost"):
        host, repository = first, remainder
    else:
        host, repository = DOCKER_HUB, path
    if host in _HUB_NAMES:
        host, repository = DOCKER_HUB, repository if "/" in repository else f"library/{repository}"
    reference = Reference(host, repository, tag or "latest", digest or None)
    if not (_REPOSITORY.match(repository) and _TAG.match(reference.tag) and (not digest or _DIGEST.match(digest))):
        raise BaseImageError(f"{text!r} is not an image name; expected host/repository:tag or host/repository@sha256:…")
    return reference
