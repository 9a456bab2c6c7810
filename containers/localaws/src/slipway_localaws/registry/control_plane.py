"""ECR's control plane over the registry's own blobs: what moto's ECR answers differently from AWS.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import base64
import hashlib
import io
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ecr.exceptions import InvalidParameterException
from moto.ecr.models import ECRBackend, Image
from moto.ecr.responses import ECRResponse

from slipway_localaws.patching import add_action, replace
from slipway_localaws.registry.blobs import BlobStore
from slipway_localaws.registry.catalog import Catalog
from slipway_localaws.registry.manifests import InvalidManifestError, parse_manifest
from slipway_localaws.registry.tokens import TokenSigner


class ImageDigestDoesNotMatchException(ServiceException):
    """PutImage was given a digest that the manifest does not have."""

    code = "ImageDigestDoesNotMatchException"


class InvalidLayerException(ServiceException):
    """CompleteLayerUpload was given a digest that the bytes do not have."""

    code = "InvalidLayerException"


class LayerInaccessibleException(ServiceException):
    """The repository does not hold the layer."""

    code = "LayerInaccessibleException"


def install(blobs: BlobStore, signer: TokenSigner) -> None:
    """Let moto's ECR share images and blobs with the registry.

    Args:
        blobs: the registry's blobs.
        signer: makes the tokens of GetAuthorizationToken.
    """
    _install_images(blobs)
    _install_layers(blobs, signer)
    _install_settings(signer)


def _install_images(blobs: BlobStore) -> None:
    def put_image(
        self: ECRBackend,
        repository_name: str,
        image_manifest: str,
        image_tag: str | None,
        image_manifest_mediatype: str | None = None,
        digest: str | None = None,
    ) -> Image:
        try:
            manifest = parse_manifest(image_manifest, image_manifest_mediatype or "")
        except InvalidManifestError as error:
            raise InvalidParameterException(
                f"Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{error}'"
            ) from None
        if digest and digest != manifest.digest:
            raise ImageDigestDoesNotMatchException(f"Image digest '{digest}' does not match '{manifest.digest}'")
        catalog = Catalog(self.account_id, self.region_name, blobs)
        return catalog.put(repository_name, manifest, image_tag, again_is_fine=False)

    replace(ECRBackend, "put_image", put_image)
    replace(ECRBackend, "batch_delete_image", _batch_delete_image)


def _batch_delete_image(
    self: ECRBackend,
    repository_name: str,
    registry_id: str | None = None,
    image_ids: list[dict[str, str]] | None = None,
) -> dict[str, Any]:
    """Delete tags (and the image with its last tag) or, by digest, images with all their tags.

    https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html
    """
    repository = self._get_repository(repository_name, registry_id)
    deleted: list[dict[str, str]] = []
    failures: list[dict[str, Any]] = []
    for wanted in image_ids or []:
        digest, tag = wanted.get("imageDigest"), wanted.get("imageTag")
        if not digest and not tag:
            failures.append(_failure({}, "MissingDigestAndTag", "both tag and digest cannot be null"))
            continue
        image = next(
            (
                each
                for each in repository.images
                if (not digest or each.image_digest == digest) and (not tag or tag in each.image_tags)
            ),
            None,
        )
        if image is None:
            failures.append(_failure(wanted, "ImageNotFound", "Requested image not found"))
            continue
        tags = [tag] if tag else list(image.image_tags)
        for each in tags:
            image.remove_tag(each)
        deleted += [{"imageDigest": image.image_digest, "imageTag": each} for each in tags] or [
            {"imageDigest": image.image_digest}
        ]
        if digest or not image.image_tags:
            repository.images.remove(image)
    return {"imageIds": deleted, "failures": failures}


def _failure(image_id: dict[str, str], code: str, reason: str) -> dict[str, Any]:
    return {"imageId": image_id, "failureCode": code, "failureReason": reason}


def _install_layers(blobs: BlobStore, signer: TokenSigner) -> None:
    complete = ECRBackend.complete_layer_upload

    def complete_layer_upload(
        self: ECRBackend,
        repository_name: str,
        upload_id: str,
        layer_digests: list[str],
        registry_id: str | None = None,
    ) -> dict[str, Any]:
        repository = self._get_repository(repository_name, registry_id)
        upload = repository.uploads.get(upload_id)
        if upload is not None:
            data = bytes(upload.layer_parts)
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            if digest not in layer_digests:
                raise InvalidLayerException(f"The layer digest '{digest}' is not among {layer_digests}")
            session = blobs.start_upload()
            blobs.append(session, io.BytesIO(data), len(data))
            blobs.finish(session, digest)
        completed: dict[str, Any] = complete(self, repository_name, upload_id, layer_digests, registry_id)
        return completed

    def get_download_url_for_layer(self: ECRResponse) -> ActionResult:
        name, digest = self._get_param("repositoryName"), self._get_param("layerDigest")
        repository = self.ecr_backend._get_repository(name, self._get_param("registryId"))
        if digest not in repository.layers:
            raise LayerInaccessibleException(f"Layer '{digest}' is not in the repository '{name}'")
        token, _ = signer.issue(self.current_account, self.region, seconds=3600)
        url = f"http://{self.headers['Host']}/v2/{name}/blobs/{digest}?token={token}"
        return ActionResult({"downloadUrl": url, "layerDigest": digest})

    replace(ECRBackend, "complete_layer_upload", complete_layer_upload)
    replace(ECRResponse, "get_download_url_for_layer", get_download_url_for_layer)


def _install_settings(signer: TokenSigner) -> None:
    def get_authorization_token(self: ECRResponse) -> ActionResult:
        token, expires_at = signer.issue(self.current_account, self.region)
        data = {
            "authorizationToken": base64.b64encode(f"AWS:{token}".encode()).decode(),
            "expiresAt": datetime.fromtimestamp(expires_at, UTC),
            "proxyEndpoint": f"http://{self.headers['Host']}",
        }
        return ActionResult({"authorizationData": [data]})

    def put_account_setting(self: ECRResponse) -> ActionResult:
        name, value = self._get_param("name"), self._get_param("value")
        allowed = {"BASIC_SCAN_TYPE_VERSION", "REGISTRY_POLICY_SCOPE", "BLOB_MOUNTING"}
        if name not in allowed:
            raise InvalidParameterException(f"Invalid account setting name '{name}'")
        _account_settings(self.ecr_backend)[name] = value
        return ActionResult({"name": name, "value": value})

    def get_account_setting(self: ECRResponse) -> ActionResult:
        name = self._get_param("name")
        defaults = {"BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2", "BLOB_MOUNTING": "DISABLED"}
        if name not in defaults:
            raise InvalidParameterException(f"Invalid account setting name '{name}'")
        return ActionResult({"name": name, "value": _account_settings(self.ecr_backend).get(name, defaults[name])})

    replace(ECRResponse, "get_authorization_token", get_authorization_token)
    add_action(ECRResponse, "put_account_setting", put_account_setting)
    add_action(ECRResponse, "get_account_setting", get_account_setting)


def _account_settings(backend: ECRBackend) -> dict[str, str]:
    """Settings of the account; kept on moto's backend so that they are saved with it."""
    if not hasattr(backend, "account_settings"):
        backend.account_settings = {}  # type: ignore[attr-defined]
    settings: dict[str, str] = backend.account_settings  # type: ignore[attr-defined]
    return settings
