"""Client of the registry HTTP API, of the parts that reading and writing images needs.

Protocol: https://github.com/opencontainers/distribution-spec. A blob is pushed by POST and one streaming PUT: Amazon
ECR loses data in the chunked way (PATCH). Nothing is held in memory but manifests and configs.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

import requests

from slipway.errors import RegistryRefusedError, RegistryUnavailableError
from slipway.images.auth import Authenticator, ChallengeAuth
from slipway.images.layer import digest_of
from slipway.images.manifest import DOCKER_MANIFEST, LISTS, MANIFESTS
from slipway.images.transport import Body, Patience, Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL_BLOB_BYTES = 16 << 20  # more than this is no config
_CHUNK_BYTES = 1 << 20


class PutOutcome(StrEnum):
    """What became of a blob that was to be pushed."""

    EXISTS = "exists"
    MOUNTED = "mounted"
    PUSHED = "pushed"


@dataclass(frozen=True)
class StoredManifest:
    """A manifest or a list of manifests as the registry holds it."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Name of the manifest."""
        return digest_of(self.content)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest, parsed."""
        parsed: dict[str, Any] = json.loads(self.content)
        return parsed


class RegistryClient:
    """One registry and our account there. May be used from many threads.

    Args:
        base_url: scheme and host, such as ``https://registry.example.com``.
        auth: None answers challenges anonymously.
        image_host: host name that image references use, where it is not that of ``base_url``.
        patience: bounds of the retries.
        sleep: waits the given seconds; tests pass their own.
    """

    def __init__(
        self,
        base_url: str,
        auth: Authenticator | None = None,
        *,
        image_host: str | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        options = {"sleep": sleep} if sleep else {}
        self._auth = auth or ChallengeAuth()
        self._transport = Transport(base_url, self._auth, patience=patience, **options)
        self.host = urlsplit(base_url).netloc
        self.image_host = image_host or self.host
        self._count_lock = threading.Lock()
        self.blob_bytes_sent = 0

    def basic_token(self) -> str | None:
        """Return base64 of ``user:password`` for other clients that shall use our account, None if we have none."""
        return self._auth.basic_token()

    def serves(self, host: str) -> bool:
        """Say whether references to ``host`` mean this registry."""
        return host in {self.host, self.image_host}

    def has_blob(self, repository: str, digest: str) -> bool:
        """Say whether ``repository`` holds the blob."""
        return self._ask("HEAD", f"{repository}/blobs/{digest}", {200, 404}).status_code == 200

    def get_blob(self, repository: str, digest: str) -> bytes:
        """Return a small blob, checked against its digest.

        Raises:
            RegistryUnavailableError: the registry served other bytes than asked for, or too many.
        """
        sink = io.BytesIO()

        def receive() -> str:
            sink.seek(0)
            sink.truncate()
            return self._receive(repository, digest, sink, SMALL_BLOB_BYTES)

        self._until_right(repository, digest, receive)
        return sink.getvalue()

    def download_blob(self, repository: str, digest: str, path: Path, *, size: int) -> None:
        """Write the blob of ``size`` bytes to ``path``, which is there only when all of it is, checked by its digest.

        Raises:
            RegistryUnavailableError: the registry did not serve it, or served something else, in all of the tries.
            RegistryRefusedError: it has no such blob.
        """
        part = path.with_name(f"{path.name}.part")

        def receive() -> str:
            with part.open("wb") as sink:
                return self._receive(repository, digest, sink, size)

        try:
            self._until_right(repository, digest, receive)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Give ``repository`` a blob that the registry holds in ``source``; False when it must be sent instead."""
        query = urlencode({"mount": digest, "from": source})
        try:
            answer = self._ask("POST", f"{repository}/blobs/uploads/?{query}", {201, 202}, mount_from=source)
        except RegistryUnavailableError:
            return False  # a registry may fail over mounting alone; what lasts shows again when the blob is sent
        return answer.status_code == 201

    def put_blob(
        self,
        repository: str,
        digest: str,
        size: int,
        open_body: Callable[[], BinaryIO],
        *,
        on_bytes: Callable[[int], None] | None = None,
    ) -> PutOutcome:
        """Make sure that ``repository`` holds the blob, sending it only if it must be sent.

        Args:
            repository: where it shall be.
            digest: its name.
            size: its length in bytes.
            open_body: opens what lies on this machine for reading; called for every try.
            on_bytes: told the bytes sent so far.

        Raises:
            RegistryUnavailableError: it did not go through in any of the tries.
        """
        body = Body(open_body, size, on_bytes)
        for attempt in range(self._transport.attempts):
            if self.has_blob(repository, digest):
                return PutOutcome.EXISTS
            try:
                self._upload(repository, digest, body)
                return PutOutcome.PUSHED
            except RegistryUnavailableError:
                if attempt == self._transport.attempts - 1:
                    raise
                self._transport.pause(attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    def get_manifest(self, repository: str, target: str) -> StoredManifest | None:
        """Return the manifest of a tag or digest, None if there is none.

        Raises:
            RegistryUnavailableError: the content is not what the digest promises.
        """
        accept = ", ".join((*MANIFESTS, *LISTS))
        answer = self._ask("GET", f"{repository}/manifests/{target}", {200, 404}, headers={"Accept": accept})
        if answer.status_code == 404:
            return None
        stored = StoredManifest(answer.content, answer.headers.get("Content-Type", "").partition(";")[0])
        if target.startswith("sha256:") and stored.digest != target:
            raise RegistryUnavailableError(f"{self.host} served {stored.digest} for {repository}@{target}")
        return stored

    def put_manifest(self, repository: str, tag: str, content: bytes, media_type: str = DOCKER_MANIFEST) -> str:
        """Put a manifest under ``tag`` unless it is there already; return its digest.

        Raises:
            RegistryRefusedError: the tag holds something else and the repository's tags must not change, or blobs that
                the manifest names are missing.
        """
        digest = digest_of(content)
        there = self.get_manifest(repository, tag)
        if there and there.digest == digest:
            return digest
        body = Body(lambda: io.BytesIO(content), len(content))
        headers = {"Content-Type": media_type}
        try:
            self._ask("PUT", f"{repository}/manifests/{quote(tag)}", {200, 201}, headers=headers, body=body)
        except RegistryRefusedError:
            # Under a tag that must not change, ECR refuses the very same manifest too: when a PUT is repeated because
            # its answer was lost, and of another run. https://github.com/aws/containers-roadmap/issues/2179
            there = self.get_manifest(repository, tag)
            if there is None or there.digest != digest:
                raise
        return digest

    def _upload(self, repository: str, digest: str, body: Body) -> None:
        started = self._ask("POST", f"{repository}/blobs/uploads/", {202})
        headers = {"Content-Type": "application/octet-stream"}
        url = _with_digest(urljoin(started.url, started.headers["Location"]), digest)
        try:
            self._ask("PUT", url, {201}, repository=repository, headers=headers, body=body, once=True)
        except RegistryRefusedError as error:
            # A cut or garbled body is refused as a wrong digest or size; an upload that the registry forgot as unknown.
            raise RegistryUnavailableError(f"upload of {digest} to {repository} broke off: {error}") from error
        with self._count_lock:
            self.blob_bytes_sent += body.size

    def _receive(self, repository: str, digest: str, sink: BinaryIO, limit: int) -> str:
        with self._ask("GET", f"{repository}/blobs/{digest}", {200}, stream=True) as answer:
            return _copy(answer, sink, limit)

    def _until_right(self, repository: str, digest: str, receive: Callable[[], str]) -> None:
        problem: object = None
        for attempt in range(self._transport.attempts):
            if attempt:
                self._transport.pause(attempt - 1)
            try:
                found = receive()
            except requests.RequestException as error:
                problem = error
                continue
            if found == digest:
                return
            problem = f"got {found}"
        raise RegistryUnavailableError(f"{self.host} does not serve {repository}@{digest} rightly: {problem}")

    def _ask(
        self,
        method: str,
        path: str,
        expect: set[int],
        *,
        repository: str | None = None,
        mount_from: str | None = None,
        **options: Any,
    ) -> requests.Response:
        """Send a request; ``path`` is below ``/v2/`` or a whole URL, then ``repository`` says whose it is."""
        owner = repository or path.partition("/blobs/")[0].partition("/manifests/")[0]
        actions = "pull" if method in {"GET", "HEAD"} else "pull,push"
        scope = f"repository:{owner}:{actions}"
        if mount_from:
            scope += f" repository:{mount_from}:pull"
        url = path if repository else f"v2/{path}"
        return self._transport.request(method, url, expect, scope=scope, **options)


def _with_digest(location: str, digest: str) -> str:
    """Add the digest to an upload's URL, which may carry a state of its own in the query."""
    parts = urlsplit(location)
    query = [*parse_qsl(parts.query, keep_blank_values=True), ("digest", digest)]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _copy(answer: requests.Response, sink: BinaryIO, limit: int) -> str:
    """Copy a response's body, hashing it; stop after ``limit`` bytes, which no right body exceeds."""
    hasher, size = hashlib.sha256(), 0
    for chunk in answer.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > limit:
            return f"more than {limit} bytes"
        hasher.update(chunk)
        sink.write(chunk)
    return f"sha256:{hasher.hexdigest()}"
