"""One capture object to one profile."""

from __future__ import annotations

import dataclasses
import json

from slipway.drift.bins import BinSet
from slipway.drift.capture.lines import ByteStream
from slipway.drift.capture.reader import CaptureCounts, Rejected, read_captures
from slipway.drift.encoding import to_bytes
from slipway.drift.profile import Profile, keep_smallest_hashes
from slipway.drift.profiling import empty_profile, profile_batch
from slipway.drift.schema import ModelSchema


@dataclasses.dataclass(frozen=True)
class ProfiledObject:
    """What is kept of one capture object.

    Args:
        profile: In the compact form.
        rejected: The first records that were set aside, as JSON; None when there were none.
    """

    profile: bytes
    rejected: bytes | None


def profile_object(stream: ByteStream, schema: ModelSchema, bins: BinSet) -> ProfiledObject:
    """Profile one capture object to what is kept of it, see :func:`profile_captures`."""
    profile, rejected = profile_captures(stream, schema, bins)
    listed = json.dumps([dataclasses.asdict(each) for each in rejected], indent=1).encode() if rejected else None
    return ProfiledObject(to_bytes(profile), listed)


def profile_captures(stream: ByteStream, schema: ModelSchema, bins: BinSet) -> tuple[Profile, list[Rejected]]:
    """Profile one capture object.

    Args:
        stream: Its bytes.
        schema: The model's.
        bins: The baseline's.

    Returns:
        The profile, which also counts what was set aside; and the first of the records that were.
    """
    counts = CaptureCounts()
    profile = empty_profile(bins)
    for batch in read_captures(stream, schema, counts):
        profile = profile.merge(profile_batch(batch.rows, bins, calls=batch.calls, first=batch.first, last=batch.last))
    unknown = keep_smallest_hashes(counts.unknown_columns)[0]
    return dataclasses.replace(profile, rejected=dict(counts.rejected), unknown_columns=unknown), counts.kept
