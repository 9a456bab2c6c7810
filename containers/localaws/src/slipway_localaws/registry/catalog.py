"""Repositories and images: one catalogue behind both the registry protocol and ECR's control plane."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Any

from moto.core.exceptions import ServiceException
from moto.ecr.exceptions import (
    ImageAlreadyExistsException,
    ImageNotFoundException,
    RepositoryNotFoundException,
)
from moto.ecr.models import ECRBackend, Image, Repository, ecr_backends

from slipway_localaws.registry.blobs import BlobStore
from slipway_localaws.registry.manifests import Manifest


class ImageTagAlreadyExistsException(ServiceException):
    """The tag is taken and the repository's tags are immutable."""

    code = "ImageTagAlreadyExistsException"


class LayersNotFoundException(ServiceException):
    """The manifest names blobs that the repository does not hold."""

    code = "LayersNotFoundException"


class ReferencedImagesNotFoundException(ServiceException):
    """The manifest list names images that the repository does not hold."""

    code = "ReferencedImagesNotFoundException"


class StoredImage(Image):
    """An image whose digest is the sha256 of its manifest and whose size is what its blobs take up."""

    def __init__(self, account: str, repository: str, manifest: Manifest) -> None:
        super().__init__(account, None, manifest.text, repository, manifest.media_type, manifest.digest)  # type: ignore[arg-type]
        self.artifact_media_type = manifest.config.media_type if manifest.config else None

    def get_image_size_in_bytes(self) -> int:
        """Sum of the compressed sizes of layers and config."""
        content = json.loads(self.image_manifest)
        parts = [*content.get("layers", ()), *content.get("manifests", ())]
        if "config" in content:
            parts.append(content["config"])
        return sum(int(part["size"]) for part in parts)


class Catalog:
    """The repositories of one account and region. Hold ``MOTO_LOCK`` while using it.

    Args:
        account, region: whose.
        blobs: where the bytes are.
    """

    def __init__(self, account: str, region: str, blobs: BlobStore) -> None:
        self._account = account
        self.backend: ECRBackend = ecr_backends[account][region]
        self._blobs = blobs

    def repository(self, name: str) -> Repository:
        """The repository of that name.

        Raises:
            RepositoryNotFoundException: there is none.
        """
        found: Repository | None = self.backend.repositories.get(name)
        if found is None:
            raise RepositoryNotFoundException(name, self._account)
        return found

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Size of a blob that this repository holds; None when it does not."""
        return self._blobs.size(digest) if digest in self.repository(repository).layers else None

    def link_blob(self, repository: str, digest: str, size: int) -> None:
        """Let a repository hold a blob that is in the store."""
        self.repository(repository).layers[digest] = size

    def find(self, repository: str, reference: str) -> Image | None:
        """The image that a tag or digest names; None when there is none."""
        for image in self.repository(repository).images:
            if reference == image.image_digest or reference in image.image_tags:
                return image
        return None

    def put(self, repository: str, manifest: Manifest, tag: str | None, *, again_is_fine: bool) -> Image:
        """Keep an image.

        Args:
            repository: its repository.
            manifest: its manifest.
            tag: a tag that shall name it from now on; None for none.
            again_is_fine: whether the same manifest under the same tag is answered with the image that is there
                (as the registry protocol does) instead of refused (as PutImage does). Pushing to an immutable tag
                is refused even then: https://github.com/aws/containers-roadmap/issues/2380

        Raises:
            RepositoryNotFoundException, LayersNotFoundException, ReferencedImagesNotFoundException,
            ImageTagAlreadyExistsException, ImageAlreadyExistsException: as ECR.
        """
        holder = self.repository(repository)
        self._check_parts(holder, manifest)
        image = next((each for each in holder.images if each.image_digest == manifest.digest), None)
        if image is not None and (tag is None or tag in image.image_tags):
            if not again_is_fine:
                raise ImageAlreadyExistsException(repository, holder.registry_id, manifest.digest, tag or "")
            if tag is None or tag_may_move(holder, tag):
                return image
        if tag is not None:
            self._free_tag(holder, tag)
        if image is None:
            image = StoredImage(self._account, repository, manifest)
            holder.images.append(image)
        if tag is not None:
            image.update_tag(tag)
        return image

    def _check_parts(self, holder: Repository, manifest: Manifest) -> None:
        where = f"in the repository with name '{holder.name}' in registry with id '{holder.registry_id}'"
        missing = [blob.digest for blob in manifest.blobs if blob.digest not in holder.layers]
        if missing:
            raise LayersNotFoundException(
                f"Layers with digests '[{', '.join(missing)}]' required for pushing image "
                f"into repository with name '{holder.name}' {where} do not exist"
            )
        known = {image.image_digest for image in holder.images}
        missing = [entry.digest for entry in manifest.manifests if entry.digest not in known]
        if missing:
            raise ReferencedImagesNotFoundException(
                f"Images with digests '[{', '.join(missing)}]' required for pushing image {where} do not exist"
            )

    def _free_tag(self, holder: Repository, tag: str) -> None:
        owner = next((image for image in holder.images if tag in image.image_tags), None)
        if owner is None:
            return
        if not tag_may_move(holder, tag):
            raise ImageTagAlreadyExistsException(
                f"The image tag '{tag}' already exists in the '{holder.name}' repository and cannot be overwritten "
                "because the repository is immutable."
            )
        owner.remove_tag(tag)
        if not owner.image_tags:
            owner.image_tag = None  # type: ignore[assignment]


def tag_may_move(holder: Repository, tag: str) -> bool:
    """Whether a tag may be given to another image (immutability with its exclusion filters).

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
    """
    filters: list[dict[str, Any]] = holder.image_tag_mutability_exclusion_filters or []  # type: ignore[assignment]
    excluded = any(fnmatchcase(tag, each["filter"]) for each in filters)
    return excluded if holder.is_tag_immutable() else not excluded


def image_not_found(repository: Repository, reference: str) -> ImageNotFoundException:
    """The error for a reference that names no image."""
    return ImageNotFoundException(reference, repository.name, repository.registry_id)
