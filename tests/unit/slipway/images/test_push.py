from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slipway.errors import RegistryRefusedError, RegistryUnavailableError
from slipway.images.base import BlobSource
from slipway.images.layer import Layer, digest_of
from slipway.images.progress import silent
from slipway.images.push import copy_layer
from slipway.images.registry import PutOutcome

if TYPE_CHECKING:
    from conftest import Registry

REPOSITORY = "slipway/flights"
BLOB = bytes(range(256)) * 100
LAYER = Layer(digest_of(BLOB), len(BLOB), "sha256:" + "d" * 64)


def copy(source: Registry, target: Registry, folder: Path) -> PutOutcome:
    return copy_layer(BlobSource(source.client(), "base/python"), target.client(), REPOSITORY, LAYER, folder, silent)


def test_a_layer_is_copied_between_registries_once(
    registry: Registry, other_registry: Registry, tmp_path: Path
) -> None:
    other_registry.blobs["base/python"] = {LAYER.digest: BLOB}
    assert copy(other_registry, registry, tmp_path) is PutOutcome.PUSHED
    assert copy(other_registry, registry, tmp_path) is PutOutcome.EXISTS
    assert registry.blobs[REPOSITORY] == {LAYER.digest: BLOB}
    assert len(other_registry.asked("GET")) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mounts", [True, False])
def test_within_a_registry_a_layer_is_mounted_or_else_sent(registry: Registry, tmp_path: Path, mounts: bool) -> None:
    registry.blobs["base/python"] = {LAYER.digest: BLOB}
    registry.mounts = mounts
    assert copy(registry, registry, tmp_path) is (PutOutcome.MOUNTED if mounts else PutOutcome.PUSHED)
    assert copy(registry, registry, tmp_path) is PutOutcome.EXISTS
    assert registry.blobs[REPOSITORY] == {LAYER.digest: BLOB}


@pytest.mark.parametrize("kind", [429, 503, "drop", "cut", "garble"])
def test_what_the_source_fails_to_serve_is_its_fault_and_nothing_is_sent(
    registry: Registry, other_registry: Registry, tmp_path: Path, kind: int | str
) -> None:
    other_registry.blobs["base/python"] = {LAYER.digest: BLOB}
    other_registry.fail("GET", "/blobs/", kind, times=4)
    with pytest.raises(RegistryUnavailableError, match=other_registry.host):
        copy(other_registry, registry, tmp_path)
    assert {method for method, _, _ in registry.log} == {"HEAD"}
    assert copy(other_registry, registry, tmp_path) is PutOutcome.PUSHED
    assert registry.blobs[REPOSITORY] == {LAYER.digest: BLOB}


def test_what_the_source_does_not_have_stays_refused(
    registry: Registry, other_registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(RegistryRefusedError, match=rf"GET {other_registry.url}/v2/base/python/.* 404"):
        copy(other_registry, registry, tmp_path)
    assert len(other_registry.asked("GET")) == 1
    assert {method for method, _, _ in registry.log} == {"HEAD"}
