"""Where a release's image came from, as an in-toto statement with a SLSA provenance predicate (https://slsa.dev/provenance/v1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.base import BaseImage
    from slipway.images.builder import BuiltImage, ImageRequest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:slipway:image-build:1"
BUILDERS = {"layers": "urn:slipway:layer-builder", "docker": "urn:slipway:docker-builder"}


def provenance(
    built: BuiltImage,
    request: ImageRequest,
    base: BaseImage,
    *,
    serving_app_digest: str,
    artifacts: Mapping[str, str],
    parameters: Mapping[str, Any],
    builder: str = BUILDERS["layers"],
    run_id: str = "",
) -> dict[str, Any]:
    """State what an image was built from, and by what.

    Args:
        built: the image.
        request: what was asked for.
        base: the base that it was built on.
        serving_app_digest: sha256 (hex) of the serving app.
        artifacts: URI → sha256 (hex) of what else went in, such as the model's files.
        parameters: what a person or a schedule asked for: service, model, version, reason.
        builder: URI of what built it.
        run_id: the run that did it; empty for none.

    Returns:
        The statement, ready for JSON. Times are left to the ledger, so that equal builds give equal statements.
    """
    materials = [
        {"uri": f"oci:{base.reference}", "digest": _digest(base.digest)},
        {"uri": "urn:slipway:dependency-lock", "digest": {"sha256": request.lock.digest}},
        {"uri": "urn:slipway:serving-app", "digest": {"sha256": serving_app_digest}},
        *({"uri": uri, "digest": {"sha256": sha256}} for uri, sha256 in sorted(artifacts.items())),
    ]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": built.uri.partition("@")[0], "digest": _digest(built.digest)}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": dict(parameters),
                "internalParameters": {"python": request.python, "platform": request.platform},
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {"id": builder},
                "metadata": {"invocationId": run_id} if run_id else {},
            },
        },
    }


def _digest(value: str) -> dict[str, str]:
    """Write a digest as in-toto does; an empty base has none."""
    kind, _, content = value.partition(":")
    return {kind: content} if content else {}
