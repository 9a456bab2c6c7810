"""A release's bill of materials in CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/): what is inside, by version.

It holds no time and no random number, so that the same release has the same bill.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from slipway.images.wheel_group import parse_pins

if TYPE_CHECKING:
    from slipway.images.base import BaseImage
    from slipway.images.wheel_group import Pin

SPEC_VERSION = "1.6"


def bill_of_materials(
    *,
    service: str,
    release: str,
    image_uri: str,
    base: BaseImage,
    lock_text: str,
    serving_app_digest: str,
    model: str,
    model_version: int,
    model_digest: str,
    image_builder: str = "layers",
) -> dict[str, Any]:
    """List what a release's image is made of.

    Args:
        service: name of the service.
        release: id of the release.
        image_uri: image by digest.
        base: base image.
        lock_text: dependency lock with hashes.
        serving_app_digest: sha256 (hex) of the serving app.
        model: name of the registered model.
        model_version: its version.
        model_digest: sha256 (hex) of its manifest of files.
        image_builder: what made the image.

    Returns:
        A CycloneDX document, ready for JSON.
    """
    pins = parse_pins(lock_text)
    root = _container("release", f"{service}:{release}", image_uri)
    parts: list[dict[str, Any]] = [
        _container("base", base.reference, base.digest),
        _plain("serving-app", "application", "slipway-serving", serving_app_digest[:12], serving_app_digest),
        _plain("model", "machine-learning-model", model, str(model_version), model_digest),
        *(_package(pin) for pin in pins),
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image_uri)}",
        "version": 1,
        "metadata": {
            "component": root,
            "tools": {"components": [{"type": "application", "name": "slipway"}]},
            "properties": [{"name": "slipway:image-builder", "value": image_builder}],
        },
        "components": parts,
        "dependencies": [{"ref": "release", "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _container(ref: str, name: str, version: str) -> dict[str, Any]:
    return {"type": "container", "bom-ref": ref, "name": name, "version": version}


def _plain(ref: str, kind: str, name: str, version: str, sha256: str) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": sha256}]
    return {"type": kind, "bom-ref": ref, "name": name, "version": version, "hashes": hashes}


def _package(pin: Pin) -> dict[str, Any]:
    version = _version(pin)
    purl = f"pkg:pypi/{quote(pin.name)}@{quote(version, safe='.!')}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": version,
        "purl": purl,
        # The lock accepts any of these files; which one fits is decided by platform and Python.
        "properties": [{"name": "slipway:accepted-hash", "value": value} for value in pin.hashes],
    }


def _version(pin: Pin) -> str:
    return pin.requirement.partition(";")[0].partition("==")[2].strip() or pin.requirement


def packages_of(lock_text: str) -> dict[str, str]:
    """Return the packages of a lock as name → version."""
    return {pin.name: _version(pin) for pin in parse_pins(lock_text)}
