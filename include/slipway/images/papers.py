"""The papers of a built release, as bytes ready to be filed: bill of materials and provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway.canonical import canonical_json
from slipway.images.bill_of_materials import bill_of_materials
from slipway.images.provenance import BUILDERS, provenance
from slipway.release_folder import BILL_OF_MATERIALS, PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slipway.images.base import BaseImage
    from slipway.images.builder import BuiltImage, ImageRequest
    from slipway.release import Release


def release_papers(
    release: Release,
    built: BuiltImage,
    request: ImageRequest,
    base: BaseImage,
    *,
    parameters: Mapping[str, Any],
    run_id: str,
) -> dict[str, bytes]:
    """Write the papers.

    Args:
        release: what was built, as it is going to be recorded.
        built: its image.
        request: what was asked of the builder.
        base: the base that it was built on.
        parameters: what a person or a schedule asked for.
        run_id: the run that built it.

    Returns:
        File name in the release's folder → content.
    """
    inputs = release.inputs
    bill = bill_of_materials(
        service=release.service,
        release=release.id,
        image_uri=release.image_uri,
        base=base,
        lock_text=request.lock.text,
        serving_app_digest=inputs.serving_app_digest,
        model=release.model,
        model_version=release.version,
        model_digest=inputs.artifact_manifest_digest,
        image_builder=inputs.image_builder,
    )
    statement = provenance(
        built,
        request,
        base,
        serving_app_digest=inputs.serving_app_digest,
        artifacts={str(release.created_from["artifact_uri"]): inputs.artifact_manifest_digest},
        parameters={
            "service": release.service,
            "model": release.model,
            "version": release.version,
            "serving": inputs.serving_spec,
            **parameters,
        },
        builder=BUILDERS[inputs.image_builder],
        run_id=run_id,
    )
    return {BILL_OF_MATERIALS: canonical_json(bill), PROVENANCE: canonical_json(statement)}
