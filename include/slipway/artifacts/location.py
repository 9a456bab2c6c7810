"""Where files are: an S3 prefix or a local folder; and which names may be written there."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from slipway.errors import InvalidInputError, UnsafePathError

_LONGEST_NAME = 255  # bytes; the limit of every common file system


@dataclass(frozen=True)
class S3Location:
    """All keys of a bucket below a prefix; the prefix is empty or ends with a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class LocalLocation:
    """All files below a folder."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)


def parse_location(uri: str) -> S3Location | LocalLocation:
    """Read ``s3://bucket/prefix``, ``file:///folder`` or a plain path.

    Raises:
        InvalidInputError: another scheme, or no bucket.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalLocation(Path(uri).expanduser().absolute())
    if scheme == "file":
        return LocalLocation(Path(unquote(urlsplit(uri).path)).absolute())
    if scheme not in {"s3", "s3a", "s3n"}:
        raise InvalidInputError(f"{uri!r}: expected s3://bucket/prefix or a local folder, found the scheme {scheme!r}.")
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise InvalidInputError(f"{uri!r} names no bucket: expected s3://bucket/prefix.")
    return S3Location(bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else "")


def check_local_names(paths: Iterable[str], *, one_case: bool) -> None:
    """Refuse object names that no folder can hold, or that would leave it.

    Args:
        paths: names relative to the folder, as S3 has them.
        one_case: whether the file system takes ``A`` and ``a`` for the same name.

    Raises:
        UnsafePathError: names the first offender and why.
    """
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        check_local_name(path)
        key = unicodedata.normalize("NFC", path).casefold() if one_case else path
        if key in seen:
            raise UnsafePathError(f"{seen[key]!r} and {path!r} would be the same file here.")
        seen[key] = path
        for parent in PurePosixPath(key).parents:
            folders.setdefault(str(parent), path)
    for key, path in seen.items():
        if key in folders:
            raise UnsafePathError(f"{path!r} would have to be a file and the folder of {folders[key]!r} at once.")


def check_local_name(path: str) -> None:
    """Refuse one object name; see ``check_local_names``."""
    parts = path.split("/")
    reason = ""
    if path.startswith("/"):
        reason = "is absolute"
    elif "\0" in path:
        reason = "holds a NUL character"
    elif any(part in {"", ".", ".."} for part in parts):
        reason = "holds an empty, '.' or '..' part"
    elif any(len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME for part in parts):
        reason = f"has a part of more than {_LONGEST_NAME} bytes"
    if reason:
        raise UnsafePathError(f"The object name {path!r} {reason}, so no file may be made of it.")
