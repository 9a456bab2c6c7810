"""Releases for tests, made as the real ones are."""

from __future__ import annotations

from slipway.release import Release, ReleaseInputs, release_id


def make_release(number: int = 1, *, image_uri: str | None = None, service: str = "flights") -> Release:
    """A release of model version ``number``; different numbers give different ids."""
    inputs = ReleaseInputs(
        artifact_manifest_digest=f"artifacts-{number}",
        lock_digest="lock",
        base_image_digest="scratch",
        serving_app_digest="app",
        serving_spec={},
    )
    return Release(
        service=service,
        id=release_id(inputs),
        model="flights-delay",
        version=number,
        image_uri=image_uri
        or f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/{service}@sha256:{number:064x}",
        inputs=inputs,
        created_from={"run_id": f"run-{number}", "metrics": {"areaUnderROC": 0.7 + number / 100}},
    )
