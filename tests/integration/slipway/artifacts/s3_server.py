"""An S3 in a process of its own: ``python s3_server.py <port>``. Whoever starts it makes the buckets.

As on AWS, and unlike moto's own, the ETag of an object that is encrypted with a KMS key is not the MD5 of its content
and differs from object to object; and it is right also when two requests are the first to ask for it: moto computes it
then, from a buffer whose position both would move. A copy of an object onto itself is encrypted as its bucket says,
where moto leaves it without a key. Checksums and conditions are checked by the AWS stand-in's own code.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import Any

from moto.s3.models import FakeKey, S3Backend
from moto.server import ThreadedMotoServer

from slipway_localaws.s3 import patches

patches.install()
_plain_etag = FakeKey.etag.fget
_copy_object = S3Backend.copy_object


def _etag(key: FakeKey) -> str:
    with key.lock:
        plain = _plain_etag(key)  # type: ignore[misc]
    if key.encryption != "aws:kms":
        return plain
    parts = plain.strip('"').partition("-")
    opaque = hashlib.md5(f"{plain}{key.bucket_name}{key.name}{key.last_modified}".encode()).hexdigest()
    return f'"{opaque}{parts[1]}{parts[2]}"'


def _copied(
    backend: S3Backend, source: FakeKey, bucket: str, *args: Any, encryption: str | None = None, **more: Any
) -> None:
    rule = (backend.get_bucket(bucket).encryption or {}).get("Rule", {}).get("ApplyServerSideEncryptionByDefault", {})
    _copy_object(backend, source, bucket, *args, encryption=encryption or rule.get("SSEAlgorithm"), **more)


if __name__ == "__main__":
    S3Backend.copy_object = _copied  # type: ignore[method-assign]
    FakeKey.etag = property(_etag)  # type: ignore[assignment,method-assign]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
    server.start()
    sys.stdin.read()  # until the parent is gone
    server.stop()
