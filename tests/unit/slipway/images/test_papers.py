"""The papers that go with a release: bill of materials, provenance, inspection."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from slipway.errors import RegistryRefusedError
from slipway.images.base import BaseImage
from slipway.images.bill_of_materials import bill_of_materials, packages_of
from slipway.images.builder import BuiltImage, ImageRequest, build_image
from slipway.images.inspection import difference, inspect_image
from slipway.images.provenance import provenance

if TYPE_CHECKING:
    from conftest import Registry

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
LOCK = (
    "Zope.Interface==5.0 --hash=sha256:cc\nnumpy==2.4.6 ; sys_platform == 'linux' --hash=sha256:aa --hash=sha256:bb\n"
)
IMAGE = "registry.example.com/slipway/flights@sha256:" + "e" * 64
BASE = BaseImage("python:3.11-slim", "sha256:" + "b" * 64, "linux/amd64", python="3.11")


def bill() -> dict[str, Any]:
    return bill_of_materials(
        service="flights",
        release="0123456789ab",
        image_uri=IMAGE,
        base=BASE,
        lock_text=LOCK,
        serving_app_digest="a" * 64,
        model="flights-delay",
        model_version=7,
        model_digest="d" * 64,
    )


def test_the_bill_names_everything_by_version() -> None:
    document = bill()
    named = {part["bom-ref"]: (part["type"], part["name"], part["version"]) for part in document["components"]}
    assert named == {
        "base": ("container", "python:3.11-slim", BASE.digest),
        "serving-app": ("application", "slipway-serving", "a" * 12),
        "model": ("machine-learning-model", "flights-delay", "7"),
        "pkg:pypi/numpy@2.4.6": ("library", "numpy", "2.4.6"),
        "pkg:pypi/zope-interface@5.0": ("library", "zope-interface", "5.0"),
    }
    assert document["dependencies"] == [{"ref": "release", "dependsOn": list(named)}]
    assert document["metadata"]["component"]["version"] == IMAGE


def test_the_bill_is_the_same_each_time_and_json() -> None:
    assert json.dumps(bill()) == json.dumps(bill())
    assert bill()["serialNumber"].startswith("urn:uuid:")
    assert packages_of(LOCK) == {"numpy": "2.4.6", "zope-interface": "5.0"}


def test_provenance_names_subject_and_materials_by_digest(make_lock: Callable[..., Any], tmp_path: Path) -> None:
    built = BuiltImage("sha256:" + "e" * 64, IMAGE, (), 0, False, 1.0)
    lock = make_lock("numpy==2 --hash=sha256:aa")
    request = ImageRequest("slipway/flights", "t", BASE, "3.11", "linux/amd64", lock, tmp_path, tmp_path)
    statement = provenance(
        built,
        request,
        BASE,
        serving_app_digest="a" * 64,
        artifacts={"s3://bucket/models/flights/v7/": "d" * 64},
        parameters={"service": "flights", "version": 7},
        run_id="manual__1",
    )
    assert statement["subject"] == [{"name": "registry.example.com/slipway/flights", "digest": {"sha256": "e" * 64}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"service": "flights", "version": 7}
    assert {entry["uri"]: entry["digest"] for entry in definition["resolvedDependencies"]} == {
        "oci:python:3.11-slim": {"sha256": "b" * 64},
        "urn:slipway:dependency-lock": {"sha256": lock.digest},
        "urn:slipway:serving-app": {"sha256": "a" * 64},
        "s3://bucket/models/flights/v7/": {"sha256": "d" * 64},
    }
    assert statement["predicate"]["runDetails"]["metadata"] == {"invocationId": "manual__1"}


def test_two_images_are_compared(
    registry: Registry, make_wheel: Callable[..., str], make_lock: Callable[..., Any], tmp_path: Path
) -> None:
    model, app = tmp_path / "model", tmp_path / "slipway_serving"
    for folder in (model, app):
        folder.mkdir()
        (folder / "file.py").write_text("x = 1\n")
    alpha = make_wheel("alpha")
    first = ImageRequest(
        "slipway/flights",
        "one",
        "scratch",
        HERE,
        "linux/amd64",
        make_lock(alpha, make_wheel("numpy", "2.0"), make_wheel("gone"), python=HERE),
        app,
        model,
    )
    lock = make_lock(alpha, make_wheel("numpy", "2.1"), make_wheel("fresh"), python=HERE)
    client = registry.client()
    for request in (first, replace(first, tag="two", lock=lock)):
        build_image(request, client, cache_dir=tmp_path / "cache")
    old, new = (inspect_image(client, "slipway/flights", tag) for tag in ("one", "two"))
    assert old.packages == {"alpha": "1.0", "gone": "1.0", "numpy": "2.0"}
    assert (old.platform, old.labels["io.slipway.python"]) == ("linux/amd64", HERE)
    assert old.size == sum(layer.size for layer in old.layers)
    changes = difference(old, new)
    assert changes.packages_added == {"fresh": "1.0"}
    assert changes.packages_removed == {"gone": "1.0"}
    assert changes.packages_changed == {"numpy": ("2.0", "2.1")}
    assert "model" not in {layer.created_by for layer in changes.new_layers}
    assert 0 < changes.bytes_to_pull < new.size
    assert difference(old, old).new_layers == ()


def test_an_image_that_is_not_there_is_said(registry: Registry) -> None:
    with pytest.raises(RegistryRefusedError, match="no image v9"):
        inspect_image(registry.client(), "slipway/flights", "v9")
