from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import BaseImageError
from slipway.images.layer import Layer, digest_of
from slipway.images.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_LAYER,
    assemble,
    layers_of,
    pick_platform,
)


def layer(number: int, created_by: str = "") -> Layer:
    return Layer(digest_of(b"gz%d" % number), 100 + number, digest_of(b"tar%d" % number), created_by)


counts = st.integers(0, 20)
words = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


@given(base=counts, own=counts, empties=st.lists(st.integers(0, 20), max_size=5), labels=words)
def test_every_image_has_the_shape_that_engines_and_sagemaker_take(
    base: int, own: int, empties: list[int], labels: dict[str, str]
) -> None:
    layers = [layer(n, f"step {n}") for n in range(base + own)]
    history: list[dict[str, object]] = [{"created_by": f"base {n}"} for n in range(base)]
    for position in empties:
        history.insert(min(position, len(history)), {"created_by": "ENV", "empty_layer": True})
    image = assemble(layers, platform="linux/arm64/v8", run={"Labels": labels}, history=history)
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, DOCKER_MANIFEST)
    assert manifest["config"] == {
        "mediaType": DOCKER_CONFIG,
        "size": len(image.config),
        "digest": digest_of(image.config),
    }
    assert {entry["mediaType"] for entry in manifest["layers"]} <= {DOCKER_LAYER}
    assert [entry["digest"] for entry in manifest["layers"]] == [entry.digest for entry in layers]
    assert config["rootfs"] == {"type": "layers", "diff_ids": [entry.diff_id for entry in layers]}
    assert sum(not entry.get("empty_layer", False) for entry in config["history"]) == len(layers)
    assert (config["os"], config["architecture"], config["config"]["Labels"]) == ("linux", "arm64", labels)
    read = layers_of(manifest, config)
    assert [(entry.digest, entry.size, entry.diff_id) for entry in read] == [
        (entry.digest, entry.size, entry.diff_id) for entry in layers
    ]
    assert [entry.created_by for entry in read[base:]] == [entry.created_by for entry in layers[base:]]


def test_more_layers_than_engines_take_are_refused() -> None:
    with pytest.raises(BaseImageError, match="128 layers"):
        assemble([layer(n) for n in range(128)], platform="linux/amd64", run={})


def test_oci_layers_are_read() -> None:
    manifest = {"layers": [{"mediaType": OCI_LAYER, "digest": "sha256:a", "size": 1}]}
    assert layers_of(manifest, {"rootfs": {"diff_ids": ["sha256:b"]}}) == (Layer("sha256:a", 1, "sha256:b"),)


@pytest.mark.parametrize("kind", ["tar+zstd", "tar", "nondistributable.tar+gzip"])
def test_layers_that_docker_cannot_carry_are_refused(kind: str) -> None:
    kind = f"application/vnd.oci.image.layer.v1.{kind}"
    manifest = {"layers": [{"mediaType": kind, "digest": "sha256:a", "size": 1}]}
    with pytest.raises(BaseImageError, match="gzip"):
        layers_of(manifest, {"rootfs": {"diff_ids": ["sha256:b"]}})


def test_a_config_of_another_image_is_refused() -> None:
    with pytest.raises(BaseImageError, match="1 layers, its config 0"):
        layers_of({"layers": [{"mediaType": DOCKER_LAYER}]}, {"rootfs": {"diff_ids": []}})


INDEX = {
    "manifests": [
        {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": "sha256:arm7", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
        {"digest": "sha256:arm8", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": "sha256:proof", "platform": {"os": "unknown", "architecture": "unknown"}},
    ]
}


@pytest.mark.parametrize(
    ("platform", "digest"),
    [("linux/amd64", "amd"), ("linux/arm64", "arm8"), ("linux/arm64/v8", "arm8"), ("linux/arm/v7", "arm7")],
)
def test_the_platform_is_picked(platform: str, digest: str) -> None:
    assert pick_platform(INDEX, platform) == f"sha256:{digest}"


def test_a_platform_that_is_missing_is_said() -> None:
    with pytest.raises(BaseImageError, match="no image for linux/s390x; there are linux/amd64, linux/arm/v7"):
        pick_platform(INDEX, "linux/s390x")
