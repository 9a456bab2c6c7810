"""A release: one immutable build of a service, and its identity.

The id is derived from what goes *into* the image, so it is known before anything is built, and building the same
inputs again finds the same release.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.canonical import canonical_json, content_digest
from slipway.documents import DocumentStore, parse_document
from slipway.errors import PermanentError, ResourceConflictError
from slipway.spec.values import ImageBuilder

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RELEASE_ID_LENGTH = 12
_RELEASE_ID = re.compile(r"[0-9a-f]{12}")
_DIGEST_IMAGE = r"^\S+@sha256:[0-9a-f]{64}$"


class ReleaseInputs(BaseModel):
    """All that decides what a release is; nothing else may change its image.

    Equal inputs mean one release, whichever run or machine builds it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact_manifest_digest: str = Field(min_length=1, description="SHA-256 over the model's files")
    lock_digest: str = Field(min_length=1, description="SHA-256 of the dependency lock")
    base_image_digest: str = Field(min_length=1, description='digest of the base image, or "scratch"')
    serving_app_digest: str = Field(min_length=1, description="SHA-256 over the serving application's files")
    serving_spec: dict[str, Any] = Field(description="the part of the spec that shapes the image")
    image_builder: ImageBuilder = Field("layers", description="what makes the image: its layers differ by builder")


class Release(BaseModel):
    """What ``release.json`` records: the image by digest, and everything it came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str = Field(min_length=1)
    id: str = Field(pattern=rf"^[0-9a-f]{{{RELEASE_ID_LENGTH}}}$")
    model: str = Field(min_length=1, description="MLflow registered model")
    version: int = Field(ge=1, description="MLflow model version")
    image_uri: str = Field(pattern=_DIGEST_IMAGE, description="<repository>@sha256:<digest>")
    inputs: ReleaseInputs
    created_from: dict[str, Any] = Field(default_factory=dict, description="lineage: run id, sources, lock key, …")


def release_id(inputs: ReleaseInputs) -> str:
    """Derive the id of the release that these inputs make.

    Returns:
        The first 12 hex digits (48 bits) of the SHA-256 over the inputs' canonical JSON. Among a service's 10,000
        releases, the chance that any two share an id is below 2e-7 (birthday bound n²/2·2⁻⁴⁸).
    """
    # Without the builder where it is the usual one: ids from before there was a choice stay what they are.
    return content_digest(inputs.model_dump(mode="json", exclude_defaults=True))[:RELEASE_ID_LENGTH]


class ReleaseStore:
    """Release records in the artifact bucket: ``releases/<service>/<id>/release.json``.

    Args:
        s3: a boto3 S3 client.
        bucket: the artifact bucket.
    """

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._documents = DocumentStore(s3, bucket)

    @staticmethod
    def key(service: str, identifier: str) -> str:
        """Return the key of a release's record.

        Raises:
            PermanentError: the id is no release id.
        """
        if not _RELEASE_ID.fullmatch(identifier):
            raise PermanentError(f"A release id is {RELEASE_ID_LENGTH} hex digits, found {identifier!r}.")
        return f"releases/{service}/{identifier}/release.json"

    def read(self, service: str, identifier: str) -> Release | None:
        """Read a release's record.

        Returns:
            The release, or None when it was never recorded.

        Raises:
            PermanentError: the record cannot be understood.
            SlipwayError: S3 does not answer or refuses.
        """
        key = self.key(service, identifier)
        document = self._documents.read(key)
        if document is None:
            return None
        uri = self._documents.uri(key)
        try:
            return Release.model_validate(parse_document(document.body, uri))
        except ValidationError as error:
            raise PermanentError(f"{uri} is not a release record: {error}") from None

    def write_once(self, release: Release) -> tuple[Release, bool]:
        """Record a release unless it is recorded already.

        Two model versions with the same bytes make one release (registering a run twice does that). The first
        record stands then: its image is the same, only where it came from differs.

        Args:
            release: the built release.

        Returns:
            The release as it is recorded, and whether this call wrote it.

        Raises:
            PermanentError: the id is not the one that the inputs give.
            ResourceConflictError: the id is recorded with another image or other inputs.
            SlipwayError: S3 does not answer or refuses.
        """
        expected = release_id(release.inputs)
        if release.id != expected:
            raise PermanentError(f"Release {release.id} of {release.service}: its inputs give the id {expected}.")
        recorded = self.read(release.service, release.id)
        if recorded is None:
            body = canonical_json(release.model_dump(mode="json"))
            if self._documents.create(self.key(release.service, release.id), body):
                return release, True
            recorded = self.read(release.service, release.id)
        if recorded is None:
            raise ResourceConflictError(
                f"Release {release.id} of {release.service} was recorded and deleted again while it was written."
            )
        _require_same_build(recorded, release)
        return recorded, False


def _require_same_build(recorded: Release, found: Release) -> None:
    for field in ("image_uri", "inputs"):
        if getattr(recorded, field) != getattr(found, field):
            raise ResourceConflictError(
                f"Release {found.id} of {found.service} is already recorded with {field} = "
                f"{getattr(recorded, field)!r}, now found {getattr(found, field)!r}. A release never changes: "
                "deploy the recorded image, or change an input (such as relock) to make another release."
            )
