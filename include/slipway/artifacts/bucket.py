"""An S3 prefix as one side of a sync: obstore where it can, boto3 for the rest.

obstore moves many small objects several times faster than boto3. It refuses some keys, does not read every setting of
boto3 (certificates, redirects to another region) and knows no multipart calls; each call that it refuses is made again
with boto3, whose error is then the one that counts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.utils import is_valid_endpoint_url

from slipway.artifacts.location import S3Location
from slipway.artifacts.manifest import list_objects
from slipway.artifacts.sync_plan import Entry, Listing
from slipway.aws_errors import aws_call, error_code
from slipway.errors import InvalidInputError, StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef
    from obstore.store import S3Store

T = TypeVar("T")
ORIGIN = "slipway-origin"  # user metadata: tag of the file or object that an object was made from
CONTENT = "slipway-content"  # user metadata, where that tag says nothing of the content: the content's own, if known
# Shorter than the ten minutes before expiry at which botocore insists on fresh credentials.
_CREDENTIALS_SECONDS = 300
_MOST_FAILURES = 3
_ATTEMPTS = 5
_DELETE_AT_ONCE = 1000
_REGION = "us-east-1"  # what botocore signs for where an S3 endpoint is named and no region
_making_client = threading.Lock()  # a boto3 session, which two buckets may share, makes one client at a time


class Bucket:
    """Calls to S3 for the objects below one prefix.

    Args:
        session: gives the credentials; refreshable ones are refreshed during long copies.
        location: bucket and prefix.
        endpoint_url: another S3 than AWS's.
        workers: number of threads that will use this object.
        verify: whether to verify TLS certificates, or the path of a CA bundle; None: botocore's default.
        config: settings of the botocore client; they go over Slipway's own.

    Raises:
        InvalidInputError: the endpoint is no URL.
    """

    def __init__(
        self,
        session: boto3.Session,
        location: S3Location,
        endpoint_url: str | None,
        workers: int,
        *,
        verify: bool | str | None = None,
        config: Config | None = None,
    ) -> None:
        self.location = location
        settings = Config(
            max_pool_connections=workers + 2,
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            request_checksum_calculation="when_required",  # what we send carries its MD5
            response_checksum_validation="when_required",  # what we fetch is compared with its checksum at the end
            # A SHA-256 of each body would take longer than to send it. The MD5 of what we upload and the CRC32 of what
            # we delete are in signed headers, and an upload that is completed otherwise than asked has another tag.
            s3={"payload_signing_enabled": False},
        )
        _check_endpoint(endpoint_url)
        settings = settings.merge(config) if config else settings
        self._make_client: Callable[[], S3Client] = lambda: session.client(
            "s3", endpoint_url=endpoint_url, verify=verify, config=settings
        )
        self._client: S3Client | None = None
        # obstore knows neither a CA bundle of one's own nor botocore's settings (proxies, say): boto3 goes alone then.
        usual = config is None and verify in (None, True)
        self._store = _open_store(session, *self._place(session, endpoint_url), location.bucket) if usual else None
        self.name = location.bucket
        self._failures = 0
        self.hides_tags = False  # learned: this bucket's ETags do not tell the content (KMS encryption)

    @property
    def client(self) -> S3Client:
        """boto3's client, made when it is first asked for: that takes longer than to look through a small prefix."""
        with _making_client:
            if self._client is None:
                with self.call(f"use {self.location}"):
                    self._client = self._make_client()
            return self._client

    def _place(self, session: boto3.Session, endpoint_url: str | None) -> tuple[str, str]:
        """Return endpoint and region; botocore knows all the places where an endpoint may be set that is not given."""
        if endpoint_url:
            return endpoint_url, session.region_name or _REGION
        return self.client.meta.endpoint_url, self.client.meta.region_name

    def key(self, path: str) -> str:
        """The full key of a path below the prefix."""
        return self.location.prefix + path

    def listing(self) -> Listing:
        """The objects below the prefix.

        Raises:
            InvalidInputError: no such bucket.
            StorageUnavailableError, AccessDeniedError: S3.
        """
        fast = self.fast(self._fast_listing) if self.location.prefix else None
        return list_objects(self.client, self.location) if fast is None else fast

    def head(self, path: str, *, checksums: bool = False) -> HeadObjectOutputTypeDef:
        """An object's own description.

        Args:
            path: of the object, below the prefix.
            checksums: also those that S3 keeps of it, for which it wants leave to decrypt the object.
        """
        more: Any = {"ChecksumMode": "ENABLED"} if checksums else {}
        with self.call(f"look at {self.location}{path}"):
            return self.client.head_object(Bucket=self.name, Key=self.key(path), **more)

    def part_bytes(self, path: str, number: int) -> int | None:
        """The size of one of the parts in which an object was uploaded, counted from 1.

        Args:
            path: of the object, below the prefix.
            number: of the part.

        Returns:
            None where the object has no such part, or S3 does not tell: a store that knows no parts describes the whole
            (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html, PartNumber).
        """
        with self.call(f"look at {self.location}{path}"):
            try:
                head = self.client.head_object(Bucket=self.name, Key=self.key(path), PartNumber=number)
            except ClientError as error:
                if error_code(error) in {"405", "416", "501"}:
                    return None
                raise
        return head["ContentLength"] if "PartsCount" in head else None

    def with_origin(self, entry: Entry) -> Entry:
        """An entry completed by what its object remembers about where it came from."""
        origin = self.head(entry.path)["Metadata"].get(ORIGIN)
        return Entry(entry.path, entry.size, entry.tag, origin)

    def delete(self, paths: Iterable[str]) -> list[str]:
        """Delete objects, a thousand a call; returns those that are gone."""
        names = list(paths)
        for start in range(0, len(names), _DELETE_AT_ONCE):
            some = names[start : start + _DELETE_AT_ONCE]
            with self.call(f"delete objects below {self.location}"):
                answer = self.client.delete_objects(
                    Bucket=self.name,
                    Delete={"Objects": [{"Key": self.key(name)} for name in some], "Quiet": True},
                )
                for failed in answer.get("Errors", []):
                    code, message = failed.get("Code", ""), f"{failed.get('Key')}: {failed.get('Message')}"
                    raise ClientError({"Error": {"Code": code, "Message": message}}, "DeleteObjects")
        return names

    def call(self, what: str) -> AbstractContextManager[None]:
        """A block whose AWS errors become Slipway's."""
        return aws_call(what, unavailable=StorageUnavailableError)

    def _fast_listing(self, store: S3Store) -> Listing | None:
        import obstore

        prefix = self.location.prefix
        listing: dict[str, Entry] = {}
        for page in obstore.list(store, prefix=prefix.removesuffix("/"), chunk_size=1000):
            for item in page:
                path = item["path"][len(prefix) :]
                # An empty object may be the marker of a folder, whose last slash obstore drops: boto3 must tell.
                if item["size"] == 0 or not item["path"].startswith(prefix):
                    return None
                listing[path] = Entry(path, item["size"], clean_tag(item["e_tag"]) or None)
        return listing

    def fast(self, call: Callable[[S3Store], T]) -> T | None:
        """Try a call on the obstore; None when there is none or it refused."""
        if self._store is None or self._failures >= _MOST_FAILURES:
            return None
        from obstore.exceptions import BaseError

        try:
            result = call(self._store)
        except (BaseError, OSError, ValueError):
            self._failures += 1
            return None
        self._failures = 0
        return result


def is_missing(error: BaseException) -> bool:
    """Whether S3 said that there is no such object."""
    return error_code(error) in {"404", "NoSuchKey", "NotFound"}


def is_encrypted(head: HeadObjectOutputTypeDef) -> bool:
    """Whether an object is encrypted in a way that makes its ETag say nothing about its content (not SSE-S3)."""
    return head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head


def content_tag(head: HeadObjectOutputTypeDef) -> str:
    """The tag of an object's content: its ETag, or where that says nothing what it remembers; empty when unknown."""
    if not is_encrypted(head):
        return clean_tag(head["ETag"])
    return head["Metadata"].get(CONTENT, head["Metadata"].get(ORIGIN, ""))


def clean_tag(etag: str | None) -> str:
    """An ETag without its quotes."""
    return (etag or "").strip('"')


def _check_endpoint(endpoint_url: str | None) -> None:
    """Refuse what is no URL of a server: obstore would end the process over it."""
    sound = not endpoint_url or (
        endpoint_url.startswith(("http://", "https://")) and is_valid_endpoint_url(endpoint_url)
    )
    if not sound:
        raise InvalidInputError(f"{endpoint_url!r} is no endpoint: expected a URL such as https://host:port.")


def _open_store(session: boto3.Session, endpoint: str, region: str, bucket: str) -> S3Store | None:
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store
    except ImportError:
        return None
    try:
        return S3Store(
            bucket,
            endpoint=endpoint,
            region=region,
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": timedelta(minutes=5)},
            retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=30)},  # boto3 is more patient
            credential_provider=Boto3CredentialProvider(session, ttl=timedelta(seconds=_CREDENTIALS_SECONDS)),
        )
    except Exception:  # noqa: BLE001  # whatever it dislikes: boto3 goes on, and names what is really wrong
        return None
