"""Docker schema 2 manifests and configs: the documents that make blobs an image.

SageMaker's CreateModel refuses OCI manifests, so releases are always written as Docker schema 2, for one platform, with
gzip layers. Both kinds are read. Formats: https://distribution.github.io/distribution/spec/manifest-v2-2/ and
https://github.com/opencontainers/image-spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway.canonical import canonical_json
from slipway.errors import BaseImageError
from slipway.images.layer import Layer, digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_PLAIN = "application/vnd.oci.image.layer.v1.tar"

MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST)
LISTS = (DOCKER_LIST, OCI_INDEX)
EPOCH = "1970-01-01T00:00:00Z"  # a time of build would give every build a digest of its own
MAX_LAYERS = 127  # of Docker's overlay2 driver


@dataclass(frozen=True)
class Image:
    """A manifest and its config, ready to be pushed. ``digest`` is the manifest's, and so the image's."""

    manifest: bytes
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def digest(self) -> str:
        """Name of the image."""
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        """Name of the config blob."""
        return digest_of(self.config)


def assemble(
    layers: Sequence[Layer],
    *,
    platform: str,
    run: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]] = (),
    extra: Mapping[str, Any] | None = None,
) -> Image:
    """Write the config and the manifest of an image.

    Args:
        layers: bottom first.
        platform: ``linux/amd64`` or the like.
        run: the config's ``config`` part: Env, Entrypoint, Labels and so on.
        history: entries of a base image for its, the lowest, layers; the others get one from ``Layer.created_by``.
        extra: further top-level fields of the config, such as ``os.version``.

    Raises:
        BaseImageError: more layers than container engines take.
    """
    if len(layers) > MAX_LAYERS:
        raise BaseImageError(f"the image would have {len(layers)} layers, engines take {MAX_LAYERS}: squash the base")
    system, architecture = platform.split("/")[:2]
    config = canonical_json(
        {
            **(extra or {}),
            "architecture": architecture,
            "os": system,
            "created": EPOCH,
            "config": dict(run),
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": _history(layers, history),
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": digest_of(config)},
            "layers": [{"mediaType": DOCKER_LAYER, "size": layer.size, "digest": layer.digest} for layer in layers],
        }
    )
    return Image(manifest, config, tuple(layers))


def _history(layers: Sequence[Layer], inherited: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Continue the inherited history; engines want exactly one entry that is not empty for each layer."""
    covered = sum(not entry.get("empty_layer", False) for entry in inherited)
    own = [{"created": EPOCH, "created_by": layer.created_by} for layer in layers[covered:]]
    return [*map(dict, inherited), *own]


def layers_of(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Read the layers that ``manifest`` and ``config`` of one image describe together.

    Raises:
        BaseImageError: the two contradict each other, or a layer is of a kind that Docker schema 2 cannot carry.
    """
    descriptors = manifest.get("layers", [])
    diff_ids = config.get("rootfs", {}).get("diff_ids", [])
    if len(descriptors) != len(diff_ids):
        raise BaseImageError(f"the manifest has {len(descriptors)} layers, its config {len(diff_ids)}: broken image")
    lines = [str(e.get("created_by", "")) for e in config.get("history", []) if not e.get("empty_layer", False)]
    lines = lines if len(lines) == len(descriptors) else [""] * len(descriptors)
    return tuple(
        Layer(_gzip(entry)["digest"], entry["size"], diff_id, line)
        for entry, diff_id, line in zip(descriptors, diff_ids, lines, strict=True)
    )


def _gzip(descriptor: Mapping[str, Any]) -> Mapping[str, Any]:
    media_type = descriptor.get("mediaType", "")
    if media_type not in {DOCKER_LAYER, OCI_LAYER}:
        raise BaseImageError(
            f"layer {descriptor.get('digest')} has media type {media_type!r}; a release needs gzip layers, because "
            "SageMaker takes Docker schema 2 only: push the base again with gzip compression"
        )
    return descriptor


def pick_platform(index: Mapping[str, Any], platform: str) -> str:
    """Return the digest of the manifest for ``platform`` (such as ``linux/arm64/v8``) in a list of manifests.

    Raises:
        BaseImageError: the list has none; the message names those it has.
    """
    offered: dict[str, str] = {}
    for entry in index.get("manifests", []):
        spec = entry.get("platform", {})
        name = "/".join(part for part in (spec.get("os"), spec.get("architecture"), spec.get("variant")) if part)
        offered.setdefault(name, str(entry["digest"]))
    wanted = [name for name in offered if name == platform or name.startswith(f"{platform}/")]
    if not wanted:
        raise BaseImageError(f"no image for {platform}; there are {', '.join(sorted(offered)) or 'none'}")
    return offered[wanted[0]]
