"""What a Spark driver prints, from the object that EMR Serverless writes to S3 again and again.

``<log uri>/applications/<application>/jobs/<job run>/SPARK_DRIVER/stdout.gz``, see
https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/logging.html. AWS does not say how often that happens;
all that was printed is there when the job run has ended.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code
from slipway.errors import StorageUnavailableError
from slipway.training.training_log import printable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GZIP_WINDOW = zlib.MAX_WBITS | 16
_ABSENT = frozenset({"NoSuchKey", "404"})


class DriverLog:
    """Reads on where it stopped.

    Args:
        s3: A boto3 S3 client.
        uri: The object, which may not be there yet.
    """

    def __init__(self, s3: S3Client, uri: str) -> None:
        self._s3 = s3
        self._uri = uri
        self._read_bytes = 0

    def new_lines(self, *, ended: bool) -> list[str]:
        """Lines since the last call; none while there is no object.

        Args:
            ended: Whether nothing follows: the last line counts then without a line break, too.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        text = self._printed()[self._read_bytes :]
        whole = text if ended else text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        return [printable(line) for line in whole.decode("utf-8", "replace").splitlines()]

    def _printed(self) -> bytes:
        bucket, _, key = self._uri.removeprefix("s3://").partition("/")
        with aws_call(f"read {self._uri}", unavailable=StorageUnavailableError):
            try:
                return unpacked(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return b""
                raise


def unpacked(content: bytes) -> bytes:
    """Unpack gzip, of one part or several, as far as it goes: an object may hold what was flushed until now."""
    found = b""
    while content:
        reader = zlib.decompressobj(_GZIP_WINDOW)
        try:
            found += reader.decompress(content)
        except zlib.error:
            break
        content = reader.unused_data
    return found
