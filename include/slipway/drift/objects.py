"""Where captures and profiles lie in the artifact bucket, and which of them belong to a window.

Captures: ``captures/<endpoint>/<variant>/<yyyy>/<mm>/<dd>/<hh>/<mm>-<ss>-<millis>-<id>.jsonl``, as SageMaker writes
them. Profiles, one for each capture object: ``profiles/<endpoint>/<bins digest>/<variant>/…/<name>.slpf``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from slipway.aws_errors import aws_call
from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CAPTURES = "captures"
_TIME = re.compile(
    r"(?P<path>(?P<variant>[^/]+)/(?P<hour>\d{4}/\d{2}/\d{2}/\d{2})/(?:(?P<minute>\d{2})-(?P<second>\d{2})-(?P<milli>\d{3}))?"
    r"[^/]*)\.(?:jsonl|slpf)$"
)
_HOUR = "%Y/%m/%d/%H"


@dataclass(frozen=True, order=True)
class CaptureObject:
    """One capture object, or its profile.

    Args:
        path: What comes after the endpoint, without the ending.
        variant: SageMaker's variant: the release, or ``main``.
        at: Time of its first call (UTC); the hour's begin when the name does not say.
    """

    path: str
    variant: str
    at: datetime

    def capture_key(self, endpoint: str) -> str:
        """Key of the captured calls."""
        return f"{CAPTURES}/{endpoint}/{self.path}.jsonl"

    def profile_key(self, endpoint: str, bins_digest: str) -> str:
        """Key of the profile."""
        return f"{profile_prefix(endpoint, bins_digest)}{self.path}.slpf"


def capture_prefix(endpoint: str) -> str:
    """Where the captures of an endpoint lie."""
    return f"{CAPTURES}/{endpoint}/"


def profile_prefix(endpoint: str, bins_digest: str) -> str:
    """Where the profiles over some bins lie."""
    return f"profiles/{endpoint}/{bins_digest}/"


def parse_object(path: str) -> CaptureObject | None:
    """Read variant and time from what comes after the endpoint in a key; None for other files."""
    found = _TIME.fullmatch(path)
    if not found:
        return None
    try:
        at = datetime.strptime(found["hour"], _HOUR).replace(tzinfo=UTC)
    except ValueError:
        return None
    minute, second, milli = (int(found[part] or 0) for part in ("minute", "second", "milli"))
    return CaptureObject(
        found["path"], found["variant"], at + timedelta(minutes=minute, seconds=second, milliseconds=milli)
    )


def list_variants(s3: S3Client, bucket: str, endpoint: str) -> list[str]:
    """List the variants of an endpoint that were ever captured.

    Args:
        s3: A boto3 S3 client.
        bucket: The artifact bucket.
        endpoint: The endpoint.

    Raises:
        SlipwayError: S3 does not answer or refuses.
    """
    prefix = capture_prefix(endpoint)
    with aws_call(f"list s3://{bucket}/{prefix}", unavailable=StorageUnavailableError):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
        folders = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
    return [folder.removeprefix(prefix).removesuffix("/") for folder in folders]


def list_objects(
    s3: S3Client, bucket: str, prefix: str, variant: str, since: datetime, until: datetime
) -> Iterator[CaptureObject]:
    """List one variant's objects of a window, in the order of time.

    Args:
        s3: A boto3 S3 client.
        bucket: The artifact bucket.
        prefix: :func:`capture_prefix` or :func:`profile_prefix`.
        variant: The variant.
        since: Begin of the window, included.
        until: End of the window, not included.

    Raises:
        SlipwayError: S3 does not answer or refuses.
    """
    below = f"{prefix}{variant}/"
    start = f"{below}{since.astimezone(UTC).strftime(_HOUR)}/"
    with aws_call(f"list s3://{bucket}/{below}", unavailable=StorageUnavailableError):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below, StartAfter=start)
        for page in pages:
            for item in page.get("Contents", []):
                found = parse_object(item["Key"].removeprefix(prefix))
                if found is None or found.at < since:
                    continue
                if found.at >= until:
                    return
                yield found
