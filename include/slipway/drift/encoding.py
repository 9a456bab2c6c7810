"""Profiles as JSON for people and as a compact binary form for storage; both versioned.

The binary form is the JSON with its long lists of counts taken out as little-endian arrays, deflated.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from slipway.drift.moments import Moments
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile
from slipway.errors import InvalidInputError

FORMAT = 1
_MAGIC = b"SLPF\x01"
_MAX_PROFILE_BYTES = 64 << 20


def to_json(profile: Profile) -> dict[str, Any]:
    """The profile as a JSON object."""
    return {
        "format": FORMAT,
        "bins": profile.bins_digest,
        "rows": profile.rows,
        "calls": profile.calls,
        "first": profile.first.isoformat() if profile.first else None,
        "last": profile.last.isoformat() if profile.last else None,
        "rejected": dict(profile.rejected),
        "unknown_columns": dict(profile.unknown_columns),
        "columns": {name: _column_to_json(column) for name, column in profile.columns.items()},
    }


def from_json(document: Mapping[str, Any]) -> Profile:
    """The profile of a JSON object.

    Args:
        document: What :func:`to_json` gave, from this version or an older one.

    Returns:
        The profile.

    Raises:
        InvalidInputError: It is not a profile, or one of a newer version.
    """
    version = document.get("format")
    if version != FORMAT:
        raise InvalidInputError(
            f"This is a profile of format {version!r}; this Slipway reads {FORMAT}. It was written by a newer Slipway, "
            "or is no profile."
        )
    try:
        return Profile(
            bins_digest=document["bins"],
            rows=int(document["rows"]),
            calls=int(document.get("calls", document["rows"])),
            columns={name: _column_from_json(column) for name, column in document["columns"].items()},
            first=_moment(document["first"]),
            last=_moment(document["last"]),
            rejected=_counts(document["rejected"]),
            unknown_columns=_counts(document["unknown_columns"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(f"The profile is damaged: {type(error).__name__}: {error}.") from None


def to_bytes(profile: Profile) -> bytes:
    """The profile in the compact form."""
    document = to_json(profile)
    arrays = []
    for column in document["columns"].values():
        arrays.append(np.asarray(column["counts"], dtype="<i8"))
        column["counts"] = len(arrays[-1])
    header = json.dumps(document, separators=(",", ":")).encode()
    body = len(header).to_bytes(4, "little") + header + b"".join(array.tobytes() for array in arrays)
    return _MAGIC + zlib.compress(body, 6)


def from_bytes(data: bytes) -> Profile:
    """The profile of the compact form.

    Args:
        data: What :func:`to_bytes` gave.

    Returns:
        The profile.

    Raises:
        InvalidInputError: The bytes are not a profile.
    """
    if not data.startswith(_MAGIC):
        raise InvalidInputError("These bytes are no profile: the first five do not say so.")
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data[len(_MAGIC) :], _MAX_PROFILE_BYTES)
        size = int.from_bytes(body[:4], "little")
        document = json.loads(body[4 : 4 + size])
        offset = 4 + size
        for column in document["columns"].values():
            length = int(column["counts"])
            column["counts"] = np.frombuffer(body, dtype="<i8", count=length, offset=offset).tolist()
            offset += 8 * length
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"The profile is damaged: {type(error).__name__}: {error}.") from None
    return from_json(document)


def _column_to_json(column: ColumnProfile) -> dict[str, Any]:
    common = {"counts": column.counts.tolist(), "missing": column.missing, "mismatched": column.mismatched}
    if isinstance(column, CategoryProfile):
        return {"kind": "categorical", **common, "new": dict(column.new), "new_unnamed": column.new_unnamed}
    moments = column.moments
    return {
        "kind": "numeric",
        **common,
        "infinite": column.infinite,
        "moments": {
            "count": moments.count,
            "mean": _finite(moments.mean),
            "squares": _finite(moments.squares),
            "minimum": _finite(moments.minimum),
            "maximum": _finite(moments.maximum),
        },
    }


def _column_from_json(column: Mapping[str, Any]) -> ColumnProfile:
    counts = np.asarray(column["counts"], dtype=np.int64)
    if column["kind"] == "categorical":
        return CategoryProfile(
            counts=counts,
            new=_counts(column["new"]),
            new_unnamed=int(column["new_unnamed"]),
            missing=int(column["missing"]),
            mismatched=int(column["mismatched"]),
        )
    moments = column["moments"]
    return NumericProfile(
        counts=counts,
        moments=Moments(
            count=int(moments["count"]),
            mean=_number(moments["mean"], math.nan),
            squares=_number(moments["squares"], math.inf),
            minimum=_number(moments["minimum"], math.inf),
            maximum=_number(moments["maximum"], -math.inf),
        ),
        missing=int(column["missing"]),
        infinite=int(column["infinite"]),
        mismatched=int(column["mismatched"]),
    )


def _finite(number: float) -> float | None:
    """JSON has no infinite numbers."""
    return number if math.isfinite(number) else None


def _number(stored: Any, infinite: float) -> float:
    return infinite if stored is None else float(stored)


def _counts(document: Mapping[str, Any]) -> dict[str, int]:
    return {str(value): int(count) for value, count in document.items()}


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
