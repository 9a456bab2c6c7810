"""What is in an image, and what sets two images apart: from manifest and config alone, no layer is fetched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.errors import RegistryRefusedError
from slipway.images.dependency import CREATED_BY as DEPENDENCIES
from slipway.images.manifest import layers_of
from slipway.images.runtime import PACKAGES_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.layer import Layer
    from slipway.images.registry import RegistryClient


@dataclass(frozen=True)
class ImageReport:
    """An image: its layers (bottom first), the packages in them (name → version), its labels and variables."""

    digest: str
    platform: str
    layers: tuple[Layer, ...]
    packages: Mapping[str, str]
    labels: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes to pull when nothing is there yet."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True)
class ImageDifference:
    """What a new image brings where an old one is: ``bytes_to_pull`` is what a host with the old one still needs."""

    new_layers: tuple[Layer, ...]
    bytes_to_pull: int
    packages_added: Mapping[str, str]
    packages_removed: Mapping[str, str]
    packages_changed: Mapping[str, tuple[str, str]]


def inspect_image(registry: RegistryClient, repository: str, target: str) -> ImageReport:
    """Describe the image under a tag or digest.

    Raises:
        RegistryRefusedError: there is none.
        BaseImageError: it is no image that Slipway can read.
        RegistryUnavailableError, AccessDeniedError: of the registry.
    """
    stored = registry.get_manifest(repository, target)
    if stored is None:
        raise RegistryRefusedError(f"there is no image {target} in repository {repository}")
    document = stored.document
    config = json.loads(registry.get_blob(repository, document["config"]["digest"]))
    layers = layers_of(document, config)
    run = config.get("config") or {}
    labels = run.get("Labels") or {}
    return ImageReport(
        digest=stored.digest,
        platform=f"{config['os']}/{config['architecture']}",
        layers=layers,
        packages=_packages(layers, labels),
        labels=labels,
        environment=dict(entry.partition("=")[::2] for entry in run.get("Env") or []),
    )


def _packages(layers: tuple[Layer, ...], labels: Mapping[str, str]) -> dict[str, str]:
    """Read the packages from the lines of history that the dependency layers carry, or else from the image's label."""
    lines = [layer.created_by for layer in layers if layer.created_by.startswith(DEPENDENCIES)]
    told = [line.removeprefix(DEPENDENCIES) for line in lines] or [labels.get(PACKAGES_LABEL, "")]
    pins = (pin for line in told for pin in line.split(", "))
    return dict(sorted(pin.partition(";")[0].strip().split("==", 1) for pin in pins if "==" in pin))


def difference(old: ImageReport, new: ImageReport) -> ImageDifference:
    """Say what ``new`` changes against ``old``."""
    held = {layer.digest for layer in old.layers}
    fresh = tuple(layer for layer in new.layers if layer.digest not in held)
    before, after = old.packages, new.packages
    return ImageDifference(
        new_layers=fresh,
        bytes_to_pull=sum(layer.size for layer in fresh),
        packages_added={name: after[name] for name in after.keys() - before.keys()},
        packages_removed={name: before[name] for name in before.keys() - after.keys()},
        packages_changed={
            name: (before[name], after[name]) for name in before.keys() & after.keys() if before[name] != after[name]
        },
    )
