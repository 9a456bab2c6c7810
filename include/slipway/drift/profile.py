"""A profile: everything that drift needs to know of some rows, in kilobytes, mergeable.

``merge`` is associative and commutative: counts are whole numbers over fixed bins, and the new categories that are
kept are the ones with the smallest hashes, so that a value that is kept in the end was kept, with its full count, in
every part that contained it (a bottom-k sample: Cohen & Kaplan, "Summarizing data using bottom-k sketches",
PODC 2007). So one profile for each capture object is enough for any window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from slipway.drift.moments import Moments
from slipway.errors import InvalidInputError

#: New categories that are kept by name.
NEW_CATEGORIES = 200
#: The reason under which calls are counted that the endpoint answered with an error.
ERROR_ANSWER = "error_answer"


@dataclass(frozen=True)
class NumericProfile:
    """Counts of a numeric column over the baseline's bins."""

    counts: NDArray[np.int64]
    moments: Moments = field(default_factory=Moments)
    missing: int = 0
    infinite: int = 0
    mismatched: int = 0

    @property
    def rows(self) -> int:
        """All rows, whatever they held."""
        return int(self.counts.sum()) + self.missing + self.infinite + self.mismatched

    def merge(self, other: NumericProfile) -> NumericProfile:
        """The profile of both sets of rows together."""
        return NumericProfile(
            counts=self.counts + other.counts,
            moments=self.moments.merge(other.moments),
            missing=self.missing + other.missing,
            infinite=self.infinite + other.infinite,
            mismatched=self.mismatched + other.mismatched,
        )


@dataclass(frozen=True)
class CategoryProfile:
    """Counts of a categorical column: the known values, the baseline's rarer ones, and new ones."""

    counts: NDArray[np.int64]
    new: Mapping[str, int] = field(default_factory=dict)
    new_unnamed: int = 0
    missing: int = 0
    mismatched: int = 0

    @property
    def new_rows(self) -> int:
        """Rows with a value that the baseline does not know."""
        return sum(self.new.values()) + self.new_unnamed

    @property
    def rows(self) -> int:
        """All rows, whatever they held."""
        return int(self.counts.sum()) + self.new_rows + self.missing + self.mismatched

    def merge(self, other: CategoryProfile) -> CategoryProfile:
        """The profile of both sets of rows together."""
        kept, dropped = keep_smallest_hashes(_added(self.new, other.new))
        return CategoryProfile(
            counts=self.counts + other.counts,
            new=kept,
            new_unnamed=self.new_unnamed + other.new_unnamed + dropped,
            missing=self.missing + other.missing,
            mismatched=self.mismatched + other.mismatched,
        )


ColumnProfile = NumericProfile | CategoryProfile


@dataclass(frozen=True)
class Profile:
    """The profiles of all watched columns of some rows."""

    bins_digest: str
    rows: int
    columns: Mapping[str, ColumnProfile]
    calls: int = 0
    """Captured calls that brought the rows; of rows that came otherwise, and in older profiles, the rows."""
    first: datetime | None = None
    last: datetime | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    """Captured calls that could not be read, by reason."""
    unknown_columns: Mapping[str, int] = field(default_factory=dict)
    """Rows that brought a column which the model does not take, by column."""

    @property
    def unreadable(self) -> int:
        """Captured calls that could not be read, see :func:`unreadable_calls`."""
        return unreadable_calls(self.rejected)

    def merge(self, other: Profile) -> Profile:
        """The profile of both sets of rows together.

        Args:
            other: A profile over the same bins.

        Returns:
            A new profile.

        Raises:
            InvalidInputError: The two were counted over different bins.
        """
        if self.bins_digest != other.bins_digest:
            raise InvalidInputError(
                f"Profiles over different bins cannot be merged: {self.bins_digest} and {other.bins_digest}. "
                "They belong to different baselines; profile the older captures again with the newer one."
            )
        return Profile(
            bins_digest=self.bins_digest,
            rows=self.rows + other.rows,
            columns={name: _merge_columns(column, other.columns[name]) for name, column in self.columns.items()},
            calls=self.calls + other.calls,
            first=min((at for at in (self.first, other.first) if at is not None), default=None),
            last=max((at for at in (self.last, other.last) if at is not None), default=None),
            rejected=_added(self.rejected, other.rejected),
            unknown_columns=keep_smallest_hashes(_added(self.unknown_columns, other.unknown_columns))[0],
        )


def unreadable_calls(rejected: Mapping[str, int]) -> int:
    """Return how many calls could not be read, whatever the reason; that an answer is an error is no fault of a call's.

    Args:
        rejected: Calls that were set aside, by reason.
    """
    return sum(count for reason, count in rejected.items() if reason != ERROR_ANSWER)


def keep_smallest_hashes(counts: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Keep the named counts of the values with the smallest hashes.

    Args:
        counts: Counts by value.

    Returns:
        The kept counts, and the number of rows whose value is not kept.
    """
    if len(counts) <= NEW_CATEGORIES:
        return dict(sorted(counts.items())), 0
    kept = sorted(counts, key=_hash)[:NEW_CATEGORIES]
    named = {value: counts[value] for value in sorted(kept)}
    return named, sum(counts.values()) - sum(named.values())


def _added(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    together = dict(left)
    for value, count in right.items():
        together[value] = together.get(value, 0) + count
    return together


def _hash(value: str) -> tuple[bytes, str]:
    return hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=8).digest(), value


def _merge_columns(left: ColumnProfile, right: ColumnProfile) -> ColumnProfile:
    if isinstance(left, NumericProfile) and isinstance(right, NumericProfile):
        return left.merge(right)
    if isinstance(left, CategoryProfile) and isinstance(right, CategoryProfile):
        return left.merge(right)
    raise InvalidInputError("A column is numeric in one profile and categorical in the other; their bins differ.")
