"""Which objects in S3 have been dealt with: never one twice, never one missed.

An object is known by key, entity tag and time of change, so an overwritten object is new again. S3 lists at once what
was written, but gives a multipart upload the time at which it *began*: an object may appear with a time that lies days
back. So identities are remembered exactly for :data:`REMEMBERED`, and only what is older than that is taken as dealt
with by its time alone.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

#: Multipart uploads are to be completed within this time; a lifecycle rule of the bucket can make sure of it.
REMEMBERED = timedelta(days=8)
SCHEMA_VERSION = 1


@dataclass(frozen=True, order=True)
class S3Object:
    """An object as a listing shows it.

    Args:
        key: Its key.
        etag: Its entity tag, without quotes.
        modified: When S3 received it, time-zone aware.
        size: Bytes.
    """

    key: str
    etag: str
    modified: datetime
    size: int = 0

    @property
    def identity(self) -> str:
        """What changes whenever the object does."""
        return f"{self.etag} {self.modified.isoformat()}"


@dataclass(frozen=True)
class Watermark:
    """What has been dealt with.

    Args:
        through: Everything that changed at or before this time has been; None at first.
        taken: Identities by key of what changed later and has been trained on.
        quarantined: Identities by key of what was refused; remembered for good, it is never trained on.
    """

    through: datetime | None = None
    taken: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    quarantined: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def is_quarantined(self, found: S3Object) -> bool:
        """Whether this very object was refused."""
        return self.quarantined.get(found.key) == found.identity

    def is_new(self, found: S3Object) -> bool:
        """Whether nothing has been done about this very object."""
        if self.is_quarantined(found) or self.taken.get(found.key) == found.identity:
            return False
        return self.through is None or found.modified > self.through

    def advanced(self, taken: Iterable[S3Object] = (), quarantined: Iterable[S3Object] = ()) -> Watermark:
        """Return the watermark after these objects have been dealt with; doing it twice changes nothing."""
        refused = {**self.quarantined, **{each.key: each.identity for each in quarantined}}
        known = {**self.taken, **{each.key: each.identity for each in taken}}
        return replace(self, taken=known, quarantined=refused)._forgetting()

    def _forgetting(self) -> Watermark:
        """Replace identities older than :data:`REMEMBERED`, counted from the newest, by the time alone."""
        if not self.taken:
            return self
        times = {key: _time_of(identity) for key, identity in self.taken.items()}
        horizon = max(times.values()) - REMEMBERED
        old = [time for time in times.values() if time <= horizon]
        if not old:
            return self
        through = max([*old, *([self.through] if self.through else [])])
        kept = {key: identity for key, identity in self.taken.items() if times[key] > through}
        return replace(self, through=through, taken=kept)

    def to_document(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "through": self.through.isoformat() if self.through else None,
            "taken": dict(sorted(self.taken.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }

    @classmethod
    def from_document(cls, found: Mapping[str, Any]) -> Watermark:
        """Read the JSON form."""
        through = datetime.fromisoformat(found["through"]) if found.get("through") else None
        return cls(through, dict(found.get("taken") or {}), dict(found.get("quarantined") or {}))


@dataclass(frozen=True)
class Readiness:
    """What of a listing can be worked on.

    Args:
        ready: New, complete, settled objects, oldest first.
        reason: Why that is not enough yet; empty when it is.
    """

    ready: tuple[S3Object, ...]
    reason: str


def find_ready(
    listing: Iterable[S3Object],
    watermark: Watermark,
    now: datetime,
    *,
    prefix: str = "",
    pattern: str | None = None,
    success_marker: str | None = None,
    settle_seconds: float = 0,
    min_objects: int = 1,
) -> Readiness:
    """Choose the new objects that are complete.

    Args:
        listing: Everything below the prefix.
        watermark: What has been dealt with.
        now: The time, time-zone aware.
        prefix: Key of the folder; patterns are about what follows it.
        pattern: Shell pattern of the keys that count, such as ``dt=*/*.parquet``; None for all.
        success_marker: Name of the object that says that its folder is complete.
        settle_seconds: How long an object must have been there unchanged.
        min_objects: Fewest objects that are enough.
    """
    everything = list(listing)
    data = data_objects(everything, prefix=prefix, pattern=pattern, success_marker=success_marker)
    new = sorted((each for each in data if watermark.is_new(each)), key=lambda each: (each.modified, each.key))
    settled = [each for each in new if (now - each.modified).total_seconds() >= settle_seconds]
    if len(settled) >= min_objects:
        return Readiness(tuple(settled), "")
    young = len(new) - len(settled)
    reason = f"{len(settled)} of {min_objects} new objects are ready"
    return Readiness(tuple(settled), reason + (f", {young} changed within {settle_seconds:g} s" if young else ""))


def data_objects(
    listing: Iterable[S3Object], *, prefix: str = "", pattern: str | None = None, success_marker: str | None = None
) -> list[S3Object]:
    """Leave out what is no data: folders, empty objects, names that begin with ``_`` or ``.``, incomplete folders."""
    everything = list(listing)
    complete = {each.key.rpartition("/")[0] for each in everything if each.key.rpartition("/")[2] == success_marker}
    return [
        each
        for each in everything
        if each.size
        and not any(part.startswith(("_", ".")) for part in each.key.removeprefix(prefix).split("/") if part)
        and (pattern is None or fnmatch.fnmatchcase(each.key.removeprefix(prefix), pattern))
        and (success_marker is None or each.key.rpartition("/")[0] in complete)
    ]


def _time_of(identity: str) -> datetime:
    return datetime.fromisoformat(identity.partition(" ")[2])
