"""Checksums that callers send with what they upload.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from moto.s3.exceptions import S3ClientError

_TRAILER = re.compile(rb"(x-amz-checksum-[a-z0-9]+):([A-Za-z0-9+/]+={0,2})")
_TRAILER_BYTES = 2048
_PART = re.compile(rb"<Part>(.*?)</Part>", re.DOTALL)
_PART_NUMBER = re.compile(rb"<PartNumber>(\d+)</PartNumber>")
_PREFIX = "x-amz-checksum-"


class BadDigest(S3ClientError):  # noqa: N818  (AWS's name)
    """The bytes are not those that the checksum was made of."""

    code = "BadDigest"


class InvalidDigest(S3ClientError):  # noqa: N818  (AWS's name)
    """The Content-MD5 is no MD5."""

    code = "InvalidDigest"


class InvalidChecksumRequest(S3ClientError):  # noqa: N818  (AWS's name)
    """The checksum headers contradict each other or are malformed."""

    code = "InvalidRequest"


class XAmzContentSHA256Mismatch(S3ClientError):  # noqa: N818  (AWS's name)
    """The signed digest of the body is not the body's."""

    code = "XAmzContentSHA256Mismatch"


def compute(algorithm: str, data: bytes) -> str:
    """The checksum of ``data`` as S3 writes it.

    Args:
        algorithm: ``CRC32``, ``CRC32C``, ``CRC64NVME``, ``SHA1`` or ``SHA256``.
        data: the bytes.

    Raises:
        KeyError: an unknown algorithm.
    """
    return base64.b64encode(_ALGORITHMS[algorithm.upper()](data)).decode()


def check_upload(headers: Mapping[str, Any], body: bytes, raw_body: bytes) -> tuple[str, str]:
    """Compare every checksum that a request carries with its body.

    Args:
        headers: the request's.
        body: the decoded body.
        raw_body: the body as received; a chunked one carries its checksum in a trailer.

    Returns:
        Algorithm and value of the additional checksum, both empty when there is none.

    Raises:
        BadDigest, InvalidDigest, InvalidChecksumRequest, XAmzContentSHA256Mismatch: as S3.
    """
    _check_md5(headers.get("Content-MD5"), body)
    _check_signed_digest(headers.get("x-amz-content-sha256"), body)
    given = _given_checksums(headers, raw_body)
    if len(given) > 1:
        raise InvalidChecksumRequest(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    for algorithm, value in given.items():
        if algorithm not in _ALGORITHMS:
            raise InvalidChecksumRequest("The algorithm type you specified in x-amz-checksum- header is invalid.")
        if compute(algorithm, body) != value:
            raise BadDigest(f"The {algorithm} you specified did not match the calculated checksum.")
        return algorithm, value
    algorithm = (headers.get("x-amz-sdk-checksum-algorithm") or "").upper()
    return (algorithm, compute(algorithm, body)) if algorithm in _ALGORITHMS else ("", "")


def check_part(algorithm: str, kind: str, given: str) -> None:
    """Compare the algorithm of a part's checksum with that of its upload.

    Args:
        algorithm: that the upload was begun with, empty for none, to which boto3 gives parts with any.
        kind: ``COMPOSITE`` or ``FULL_OBJECT``, which needs none of its parts.
        given: that of the part, empty for none.

    Raises:
        InvalidChecksumRequest: as S3.
    """
    if algorithm and given != algorithm and (given or kind != "FULL_OBJECT"):
        raise InvalidChecksumRequest(
            f"Checksum Type mismatch occurred, expected checksum Type: {algorithm.lower()}, "
            f"actual checksum Type: {given.lower() or 'null'}"
        )


def check_completion(algorithm: str, kind: str, body: bytes) -> None:
    """Look for the checksums of the parts in a request that completes an upload.

    Args:
        algorithm: that the upload was begun with, empty for none.
        kind: ``COMPOSITE`` or ``FULL_OBJECT``, which needs none of its parts.
        body: the request's.

    Raises:
        InvalidChecksumRequest: as S3.
    """
    if not algorithm or kind == "FULL_OBJECT":
        return
    for part in _PART.findall(body):
        if f"<Checksum{algorithm}>".encode() not in part:
            number = _PART_NUMBER.search(part)
            raise InvalidChecksumRequest(
                f"The upload was created using a {algorithm.lower()} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {number[1].decode() if number else '?'} in the "
                "request."
            )


def _given_checksums(headers: Mapping[str, Any], raw_body: bytes) -> dict[str, str]:
    given = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower.startswith(_PREFIX) and lower not in {f"{_PREFIX}algorithm", f"{_PREFIX}type", f"{_PREFIX}mode"}:
            given[lower.removeprefix(_PREFIX).upper()] = value
    if not given and headers.get("x-amz-trailer"):
        for name, value in _TRAILER.findall(raw_body[-_TRAILER_BYTES:]):
            given[name.decode().removeprefix(_PREFIX).upper()] = value.decode()
    return given


def _check_md5(given: str | None, body: bytes) -> None:
    if not given:
        return
    try:
        expected = base64.b64decode(given, validate=True)
    except binascii.Error:
        expected = b""
    if len(expected) != 16:
        raise InvalidDigest("The Content-MD5 you specified was invalid.")
    if hashlib.md5(body, usedforsecurity=False).digest() != expected:
        raise BadDigest("The Content-MD5 you specified did not match what we received.")


def _check_signed_digest(given: str | None, body: bytes) -> None:
    if given and re.fullmatch(r"[0-9a-f]{64}", given) and hashlib.sha256(body).hexdigest() != given:
        raise XAmzContentSHA256Mismatch("The provided 'x-amz-content-sha256' header does not match what was computed.")


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _crc32(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(4, "big")


@cache
def _model(name: str) -> Any:
    import anycrc

    return anycrc.Model(name)


def _crc32c(data: bytes) -> bytes:
    return int(_model("CRC32C").calc(data)).to_bytes(4, "big")


def _crc64nvme(data: bytes) -> bytes:
    return int(_model("CRC64-NVME").calc(data)).to_bytes(8, "big")


_ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": _crc32, "CRC32C": _crc32c, "CRC64NVME": _crc64nvme, "SHA1": _sha1, "SHA256": _sha256,
}  # fmt: skip
