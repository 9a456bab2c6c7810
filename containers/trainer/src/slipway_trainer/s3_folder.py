"""Folders in S3: fetched, sent and removed as a whole, and small documents in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_trainer.problem import TrainingError, UnavailableError

_LATER = {"SlowDown", "Throttling", "RequestTimeout"}


@dataclass(frozen=True)
class S3Folder:
    """A folder in S3.

    Args:
        uri: ``s3://bucket/prefix/``, with or without the last slash.
        region: AWS region; None: as boto3 finds it.
        endpoint_url: S3, when it is not AWS's own and the environment does not name it.
    """

    uri: str
    region: str | None = None
    endpoint_url: str | None = None

    def below(self, name: str) -> S3Folder:
        """The folder of this name in it."""
        return S3Folder(f"{self.uri.rstrip('/')}/{name}/", self.region, self.endpoint_url)

    def read(self, name: str) -> bytes:
        """One object's bytes.

        Raises:
            TrainingError: It is not there, or S3 refuses.
            UnavailableError: S3 does not answer.
        """
        with self._translated(f"read {self._prefix[1]}{name} of bucket {self._prefix[0]}"):
            bucket, prefix = self._prefix
            body: bytes = self._client().get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
            return body

    def write(self, name: str, body: bytes) -> None:
        """Write one object; raises as :meth:`read` does."""
        with self._translated(f"write {self._prefix[1]}{name} to bucket {self._prefix[0]}"):
            bucket, prefix = self._prefix
            self._client().put_object(Bucket=bucket, Key=prefix + name, Body=body)

    def fetch(self, folder: Path) -> int:
        """Copy its objects into a folder of this machine; returns how many there are. Raises as :meth:`read` does."""
        with self._translated(f"fetch {self.uri}"):
            client, (bucket, prefix) = self._client(), self._prefix
            keys = [key for key in self._keys() if not key.endswith("/")]
            for key in keys:
                place = folder / key.removeprefix(prefix)
                if not place.resolve().is_relative_to(folder.resolve()):
                    raise TrainingError(f"s3://{bucket}/{key} would leave its folder")
                place.parent.mkdir(parents=True, exist_ok=True)
                client.download_file(bucket, key, str(place))
            return len(keys)

    def send(self, folder: Path) -> None:
        """Copy the files of a folder of this machine into it; raises as :meth:`read` does."""
        with self._translated(f"write {self.uri}"):
            client, (bucket, prefix) = self._client(), self._prefix
            for place in sorted(each for each in folder.rglob("*") if each.is_file()):
                client.upload_file(str(place), bucket, prefix + place.relative_to(folder).as_posix())

    def remove(self) -> None:
        """Delete what is in it; raises as :meth:`read` does."""
        with self._translated(f"clear {self.uri}"):
            client, (bucket, _) = self._client(), self._prefix
            for key in self._keys():
                client.delete_object(Bucket=bucket, Key=key)

    @property
    def _prefix(self) -> tuple[str, str]:
        bucket, _, prefix = self.uri.removeprefix("s3://").rstrip("/").partition("/")
        return bucket, f"{prefix}/" if prefix else ""

    def _keys(self) -> list[str]:
        bucket, prefix = self._prefix
        pages = self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def _client(self) -> Any:
        import boto3

        return boto3.session.Session(region_name=self.region).client("s3", endpoint_url=self.endpoint_url)

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status >= 500 or error.response["Error"]["Code"] in _LATER:
                raise UnavailableError(f"S3 does not answer; cannot {what}: {error}") from error
            raise TrainingError(f"S3 refuses; cannot {what}: {error}") from error
        except Boto3Error as error:  # of its transfers, which wrap what S3 said
            raise TrainingError(f"S3 refuses; cannot {what}: {error}") from error
        except BotoCoreError as error:
            raise UnavailableError(f"S3 does not answer; cannot {what}: {error}") from error
