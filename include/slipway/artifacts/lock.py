"""The dependency lock: which exact packages serve a model, resolved once and kept in S3 until somebody asks again.

A lock is known by a key over everything that decides it (requirements, Python, platform, the serving app's own
requirements), so the same model asks for the same lock on any worker, and a later release of some package changes
nothing by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from packaging.requirements import Requirement

from slipway.artifacts.resolve import pins, resolve_requirements
from slipway.aws_errors import aws_call, error_code
from slipway.documents import DocumentStore, parse_document
from slipway.errors import DependencyLockError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FORMAT = 1
_SERVING_APP = "slipway-serving"
Resolver = Callable[..., str]


@dataclass(frozen=True)
class DependencyLock:
    """Exact packages for one Python and platform.

    Attributes:
        key: what the lock was asked for (see ``lock_key``).
        requirements: ``name==version`` lines, sorted.
        text: the requirements file with hashes, as pip and uv install it with ``--require-hashes``.
        python: minor Python version.
        platform: image platform, such as ``linux/amd64``.
        digest: sha256 of ``text``, hexadecimal.
    """

    key: str
    requirements: tuple[str, ...]
    text: str
    python: str
    platform: str
    digest: str

    @classmethod
    def from_text(cls, text: str, *, key: str, python: str, platform: str) -> DependencyLock:
        """Read a lock from its requirements file."""
        return cls(key, tuple(pins(text)), text, python, platform, hashlib.sha256(text.encode()).hexdigest())


def lock_key(
    requirements: Iterable[str],
    python: str,
    platform: str,
    serving_requirements: Iterable[str],
    constraints: Iterable[str] = (),
) -> str:
    """Name of the lock for these inputs: 32 hexadecimal digits, the same whatever the order of the lines."""
    inputs = {
        "format": _FORMAT,
        "requirements": sorted(set(requirements)),
        "constraints": sorted(set(constraints)),
        "serving": sorted(set(serving_requirements)),
        "python": python,
        "platform": platform,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def serving_requirements() -> tuple[str, ...]:
    """What the serving app itself needs in the image, from its installed metadata (extras left out).

    Raises:
        DependencyLockError: the serving app is not installed.
    """
    try:
        lines = metadata.requires(_SERVING_APP) or []
    except metadata.PackageNotFoundError as error:
        raise DependencyLockError(f"{_SERVING_APP} is not installed beside Slipway (`uv sync`).") from error
    return tuple(sorted(line for line in lines if "extra" not in str(Requirement(line).marker or "")))


class LockStore:
    """Locks in the artifact bucket, under ``locks/<key>/``.

    ``lock.json`` is what counts; ``requirements.lock`` beside it is the same text for people and tools.

    Args:
        s3: a boto3 S3 client.
        bucket: the artifact bucket.
        resolver: how new locks are made (see ``resolve_requirements``).
    """

    def __init__(self, s3: S3Client, bucket: str, resolver: Resolver = resolve_requirements) -> None:
        self._s3 = s3
        self._documents = DocumentStore(s3, bucket)
        self._resolver = resolver

    def get_or_resolve(
        self,
        requirements: Sequence[str],
        python: str,
        platform: str,
        *,
        serving: Sequence[str] | None = None,
        constraints: Sequence[str] = (),
        from_source: Sequence[str] = (),
        relock: bool = False,
    ) -> tuple[DependencyLock, bool]:
        """The kept lock for these inputs, or a new one.

        Args:
            requirements: the model's requirements, PEP 508.
            python: minor Python version.
            platform: image platform, such as ``linux/amd64``.
            serving: the serving app's requirements; by default those of the installed one.
            constraints: versions that bind only packages which are needed anyway.
            from_source: names of packages that are published as source only.
            relock: resolve again even when a lock is kept.

        Returns:
            The lock, and whether it was resolved by this call. Nothing is written when it equals the kept one.

        Raises:
            DependencyLockError: the requirements do not resolve.
            StorageUnavailableError: S3 does not answer.
        """
        serving = serving_requirements() if serving is None else serving
        key = lock_key(requirements, python, platform, serving, constraints)
        kept, etag = self._read(key)
        if kept and not relock:
            self._write_text(kept)
            return kept, False
        text = self._resolver(
            sorted({*requirements, *serving}),
            python=python,
            platform=platform,
            constraints=sorted(set(constraints)),
            from_source=from_source,
        )
        lock = DependencyLock.from_text(text, key=key, python=python, platform=platform)
        if not kept or kept.digest != lock.digest:
            lock = self._keep(lock, etag)
        self._write_text(lock)
        return lock, True

    def read(self, key: str) -> DependencyLock | None:
        """The kept lock of that key, None when there is none."""
        return self._read(key)[0]

    def _read(self, key: str) -> tuple[DependencyLock | None, str | None]:
        path = f"locks/{key}/lock.json"
        found = self._documents.read(path)
        if found is None:
            return None, None
        uri = self._documents.uri(path)
        document = parse_document(found.body, uri)
        try:
            lock = DependencyLock.from_text(
                document["text"], key=key, python=document["python"], platform=document["platform"]
            )
            intact = lock.digest == document["digest"]
        except (KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            raise DependencyLockError(f"{uri} is not a lock as Slipway wrote it. Delete it, or deploy with `relock`.")
        return lock, found.etag

    def _keep(self, lock: DependencyLock, replaced_etag: str | None) -> DependencyLock:
        """Write a lock; when another run was faster, its lock is the one that counts."""
        path = f"locks/{lock.key}/lock.json"
        content = {"python": lock.python, "platform": lock.platform, "digest": lock.digest, "text": lock.text}
        body = json.dumps(content, sort_keys=True, indent=1).encode()
        if replaced_etag is None:
            written = self._documents.create(path, body)
        else:
            written = self._documents.replace(path, body, replaced_etag)
        return lock if written else self.read(lock.key) or lock

    def _write_text(self, lock: DependencyLock) -> None:
        """Bring ``requirements.lock`` up to date, without a write when it is."""
        bucket, path = self._documents.bucket, f"locks/{lock.key}/requirements.lock"
        body = lock.text.encode()
        with aws_call(f"write {self._documents.uri(path)}", unavailable=StorageUnavailableError):
            try:
                head = self._s3.head_object(Bucket=bucket, Key=path)
                if head["Metadata"].get("sha256") == lock.digest:
                    return
            except ClientError as error:
                if error_code(error) not in {"404", "NoSuchKey", "NotFound"}:
                    raise
            self._s3.put_object(
                Bucket=bucket, Key=path, Body=body, ContentType="text/plain", Metadata={"sha256": lock.digest}
            )
