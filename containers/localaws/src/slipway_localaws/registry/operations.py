"""The operations on one repository.

https://docs.docker.com/registry/spec/api/#detail
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import BinaryIO
from urllib.parse import quote

from moto.core.exceptions import ServiceException
from moto.ecr.exceptions import RepositoryNotFoundException

from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.registry.blobs import BlobStore, DigestMismatchError, UploadRangeError, is_digest
from slipway_localaws.registry.catalog import Catalog, ImageTagAlreadyExistsException, LayersNotFoundException
from slipway_localaws.registry.manifests import InvalidManifestError, parse_manifest
from slipway_localaws.registry.messages import Answer, RegistryError, Request

_MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Operations:
    """The operations, for one request."""

    def __init__(self, request: Request, blobs: BlobStore) -> None:
        self._request = request
        self._blobs = blobs
        self._catalog = Catalog(request.grant.account, request.grant.region, blobs)

    def list_tags(self) -> Answer:
        """``GET tags/list``, paged by ``n`` and ``last``."""
        query = self._request.query
        with MOTO_LOCK:
            images = self._catalog.repository(self._request.name).images
            tags = sorted(tag for image in images for tag in image.image_tags if tag > query.get("last", ""))
        headers = {"Content-Type": "application/json"}
        limit = int(query.get("n", "1000"))
        if len(tags) > limit:
            tags = tags[:limit]
            following = f"/v2/{self._request.name}/tags/list?n={limit}&last={quote(tags[-1])}"
            headers["Link"] = f'<{following}>; rel="next"'
        body = json.dumps({"name": self._request.name, "tags": tags}).encode()
        return Answer("ListTags", 200, {**headers, "Content-Length": str(len(body))}, [body], self._request.name)

    def get_manifest(self, reference: str) -> Answer:
        """``GET`` or ``HEAD`` a manifest by tag or digest."""
        with MOTO_LOCK:
            image = self._catalog.find(self._request.name, reference)
        if image is None:
            raise RegistryError(404, "MANIFEST_UNKNOWN", "Requested image not found")
        body = image.image_manifest.encode()
        headers = {
            "Content-Type": image.image_manifest_media_type or "",
            "Docker-Content-Digest": image.image_digest,
            "Content-Length": str(len(body)),
        }
        action = "HeadManifest" if self._request.method == "HEAD" else "GetManifest"
        return Answer(action, 200, headers, [body], f"{self._request.name}:{reference}")

    def put_manifest(self, reference: str) -> Answer:
        """``PUT`` a manifest under a tag or its digest."""
        request = self._request
        if request.length > _MAX_MANIFEST_BYTES:
            raise RegistryError(400, "MANIFEST_INVALID", f"a manifest has at most {_MAX_MANIFEST_BYTES} bytes")
        media_type = (request.environ.get("CONTENT_TYPE") or "").partition(";")[0].strip()
        try:
            manifest = parse_manifest(request.body.read(request.length).decode(), media_type)
        except (InvalidManifestError, UnicodeDecodeError) as error:
            raise RegistryError(400, "MANIFEST_INVALID", str(error)) from None
        by_digest = is_digest(reference)
        if by_digest and reference != manifest.digest:
            raise RegistryError(400, "DIGEST_INVALID", f"the manifest has the digest {manifest.digest}")
        try:
            with MOTO_LOCK:
                self._catalog.put(request.name, manifest, None if by_digest else reference, again_is_fine=True)
        except LayersNotFoundException as error:
            raise RegistryError(400, "MANIFEST_BLOB_UNKNOWN", error.message) from None
        except ImageTagAlreadyExistsException as error:
            raise RegistryError(400, "TAG_INVALID", error.message) from None
        except RepositoryNotFoundException:
            raise
        except ServiceException as error:
            raise RegistryError(400, "MANIFEST_INVALID", error.message) from None
        location = f"{request.base_url}/v2/{request.name}/manifests/{manifest.digest}"
        headers = {"Location": location, "Docker-Content-Digest": manifest.digest}
        return Answer("PutManifest", 201, headers, resource=f"{request.name}:{reference}")

    def get_blob(self, digest: str) -> Answer:
        """``GET`` or ``HEAD`` a blob, whole or a range of it."""
        request = self._request
        with MOTO_LOCK:
            size = self._catalog.blob_size(request.name, digest)
        if size is None:
            raise RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry")
        resource = f"{request.name}@{digest}"
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
            "Content-Length": str(size),
        }
        if request.method == "HEAD":
            return Answer("HeadBlob", 200, headers, resource=resource)
        wanted = request.environ.get("HTTP_RANGE")
        first, last = _range(wanted, size) if wanted else (0, size - 1)
        headers["Content-Length"] = str(last - first + 1)
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        body = _read_range(self._blobs.path(digest).open("rb"), first, last - first + 1)
        return Answer("GetBlob", 206 if wanted else 200, headers, body, resource)

    def upload(self, upload: str) -> Answer:
        """The steps of an upload: ``POST`` starts it or does it all, ``PATCH`` adds, ``PUT`` ends, ``DELETE`` drops."""
        steps: dict[str, Callable[[str], Answer]] = {
            "POST": self._start, "PATCH": self._append, "PUT": self._finish,
            "GET": self._status, "DELETE": self._cancel,
        }  # fmt: skip
        step = steps.get(self._request.method)
        if step is None:
            raise RegistryError(405, "UNSUPPORTED", f"{self._request.method} is not supported here")
        with MOTO_LOCK:
            self._catalog.repository(self._request.name)
        return step(upload)

    def _start(self, _: str) -> Answer:
        query = self._request.query
        if "mount" in query and self._mount(query["mount"], query.get("from", "")):
            return self._created("MountBlob", query["mount"])
        upload = self._blobs.start_upload()
        if "digest" in query:
            return self._finish(upload)
        answer = self._accepted("StartBlobUpload", upload, 0)
        answer.headers["Docker-Upload-UUID"] = upload
        return answer

    def _mount(self, digest: str, source: str) -> bool:
        """Whether the blob could be taken over from another repository. ECR does so only when the account asks for it.

        https://docs.aws.amazon.com/AmazonECR/latest/userguide/blob-mounting.html
        """
        with MOTO_LOCK:
            settings: dict[str, str] = getattr(self._catalog.backend, "account_settings", {})
            if settings.get("BLOB_MOUNTING") != "ENABLED":
                return False
            holders = [source] if source else list(self._catalog.backend.repositories)
            for holder in holders:
                known = self._catalog.backend.repositories.get(holder)
                size = self._blobs.size(digest)
                if known is not None and digest in known.layers and size is not None:
                    self._catalog.link_blob(self._request.name, digest, size)
                    return True
        return False

    def _append(self, upload: str) -> Answer:
        start = (self._request.environ.get("HTTP_CONTENT_RANGE") or "").partition("-")[0]
        try:
            received = self._blobs.append(
                upload, self._request.body, self._request.length, start=int(start) if start.isdigit() else None
            )
        except UploadRangeError as error:
            headers = {"Range": f"0-{max(0, error.args[0] - 1)}"}
            raise RegistryError(416, "BLOB_UPLOAD_INVALID", "the chunk is out of order", headers) from None
        return self._accepted("PatchBlobUpload", upload, received)

    def _finish(self, upload: str) -> Answer:
        digest = self._request.query.get("digest", "")
        if not is_digest(digest):
            raise RegistryError(400, "DIGEST_INVALID", f"not a sha256 digest: {digest!r}")
        if self._request.length:
            self._blobs.append(upload, self._request.body, self._request.length)
        try:
            size = self._blobs.finish(upload, digest)
        except DigestMismatchError as error:
            raise RegistryError(400, "DIGEST_INVALID", str(error)) from None
        with MOTO_LOCK:
            self._catalog.link_blob(self._request.name, digest, size)
        return self._created("PutBlob", digest)

    def _status(self, upload: str) -> Answer:
        answer = self._accepted("GetBlobUpload", upload, self._blobs.received(upload))
        answer.status = 204
        return answer

    def _cancel(self, upload: str) -> Answer:
        self._blobs.cancel(upload)
        return Answer("CancelBlobUpload", 204, resource=self._request.name)

    def _accepted(self, action: str, upload: str, received: int) -> Answer:
        location = f"{self._request.base_url}/v2/{self._request.name}/blobs/uploads/{upload}"
        headers = {"Location": location, "Range": f"0-{max(0, received - 1)}", "Docker-Upload-UUID": upload}
        return Answer(action, 202, headers, resource=self._request.name)

    def _created(self, action: str, digest: str) -> Answer:
        location = f"{self._request.base_url}/v2/{self._request.name}/blobs/{digest}"
        headers = {"Location": location, "Docker-Content-Digest": digest}
        return Answer(action, 201, headers, resource=f"{self._request.name}@{digest}")


def _range(header: str, size: int) -> tuple[int, int]:
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        raise RegistryError(416, "RANGE_INVALID", f"cannot serve the range {header!r}")
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        raise RegistryError(
            416, "RANGE_INVALID", f"cannot serve the range {header!r}", {"Content-Range": f"bytes */{size}"}
        )
    return first, last


def _read_range(file: BinaryIO, first: int, length: int) -> Iterable[bytes]:
    with file:
        file.seek(first)
        while length > 0 and (chunk := file.read(min(1024 * 1024, length))):
            length -= len(chunk)
            yield chunk
