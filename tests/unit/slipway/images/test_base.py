from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from slipway.errors import AccessDeniedError, BaseImageError
from slipway.images.base import check_python, choose_base, pin, resolve_base
from slipway.images.layer import digest_of
from slipway.images.manifest import DOCKER_LAYER, DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

if TYPE_CHECKING:
    from conftest import Registry

LAYER = b"pretend this is gzip"


def add_base(registry: Registry, kind: str = DOCKER_MANIFEST, layer: str = DOCKER_LAYER, **run: Any) -> str:
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": run, "rootfs": {"diff_ids": ["sha256:d"]}})
    manifest = {
        "mediaType": kind,
        "config": {"digest": digest_of(config.encode()), "size": len(config)},
        "layers": [{"mediaType": layer, "digest": digest_of(LAYER), "size": len(LAYER)}],
    }
    return registry.put_image("base/python", "3.11", manifest, config.encode(), LAYER)


@pytest.mark.parametrize(("kind", "layer"), [(DOCKER_MANIFEST, DOCKER_LAYER), (OCI_MANIFEST, OCI_LAYER)])
def test_a_base_is_pinned(registry: Registry, kind: str, layer: str) -> None:
    digest = add_base(registry, kind, layer, Env=["PATH=/bin", "PYTHON_VERSION=3.11.9"])
    base = resolve_base(f"{registry.host}/base/python:3.11")
    assert (base.digest, base.python, base.platform) == (digest, "3.11", "linux/amd64")
    assert [(entry.digest, entry.size, entry.diff_id) for entry in base.layers] == [
        (digest_of(LAYER), len(LAYER), "sha256:d")
    ]


@pytest.mark.parametrize("kind", [DOCKER_LIST, OCI_INDEX])
def test_the_platform_is_found_in_a_list(registry: Registry, kind: str) -> None:
    digest = add_base(registry)
    entries = [{"digest": digest, "platform": {"os": "linux", "architecture": "amd64"}}]
    registry.put_image("base/python", "many", {"mediaType": kind, "manifests": entries})
    assert resolve_base(f"{registry.host}/base/python:many").digest == digest
    with pytest.raises(BaseImageError, match="linux/arm64"):
        resolve_base(f"{registry.host}/base/python:many", platform="linux/arm64")


def test_scratch_needs_no_registry() -> None:
    base = resolve_base("scratch", platform="linux/arm64")
    assert (base.digest, base.layers, base.python, base.platform) == ("scratch", (), None, "linux/arm64")


def test_our_client_is_used_for_our_registry_under_either_name(registry: Registry) -> None:
    add_base(registry)
    client = registry.client(image_host="registry.example.com")
    for host in (registry.host, "registry.example.com"):
        base = resolve_base(f"{host}/base/python:3.11", registry=client)
        assert base.source
        assert base.source.registry is client


def test_a_missing_base_is_said(registry: Registry) -> None:
    with pytest.raises(BaseImageError, match=r"no base image .*platform\.yaml"):
        resolve_base(f"{registry.host}/base/python:3.11")


def test_a_base_behind_a_login_is_denied(registry: Registry) -> None:
    registry.auth = "basic"
    with pytest.raises(AccessDeniedError):
        resolve_base(f"{registry.host}/base/python:3.11")


def test_something_that_is_no_image_is_refused(registry: Registry) -> None:
    registry.put_image("base/python", "3.11", {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"})
    with pytest.raises(BaseImageError, match="must be a Docker or OCI image"):
        resolve_base(f"{registry.host}/base/python:3.11")


def test_the_python_versions_must_agree(registry: Registry) -> None:
    add_base(registry, Labels={"io.slipway.python": "3.12"}, Env=["PYTHON_VERSION=3.11.9"])
    base = resolve_base(f"{registry.host}/base/python:3.11")
    check_python(base, "3.12")
    with pytest.raises(BaseImageError, match=r'Python 3\.11, but .* has 3\.12: set base_images: {"3\.11"'):
        check_python(base, "3.11")


def test_a_base_that_says_nothing_is_trusted(registry: Registry) -> None:
    add_base(registry)
    check_python(resolve_base(f"{registry.host}/base/python:3.11"), "3.13")


def test_the_base_is_chosen_by_python_version() -> None:
    assert choose_base({"3.11": "python:3.11-slim", "3.12": "scratch"}, "3.12") == "scratch"
    with pytest.raises(BaseImageError, match=r"needs Python 3\.10, .* for 3\.11: add"):
        choose_base({"3.11": "python:3.11-slim"}, "3.10")


def test_a_pinned_base_stays_when_its_tag_moves_on(registry: Registry) -> None:
    reference = f"{registry.host}/base/python:3.11"
    add_base(registry)
    before = resolve_base(reference)
    pinned = pin(reference, before.digest)
    add_base(registry, Env=["PYTHON_VERSION=3.11.10"])
    assert resolve_base(reference).digest != before.digest
    assert resolve_base(pinned).digest == before.digest
    assert pin(pinned, before.digest) == pinned
    assert pin("scratch", "scratch") == "scratch"
