"""Decide what a sync has to do: two listings in, a plan out. Nothing is read or written here.

A file counts as unchanged when size and content tag agree. The tag is S3's ETag, or what S3's ETag would be for a local
file. Where S3 gives equal content another tag (encryption with KMS keys, another split into parts), the copy remembers
its ``origin``: the tag of the source that it was made from.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a listing.

    Attributes:
        path: relative to the listing's root, with slashes.
        size: bytes.
        tag: content tag without quotes; None when it is not known yet.
        origin: tag of the source that this file was copied from; None when it is not known.
    """

    path: str
    size: int
    tag: str | None = None
    origin: str | None = None


Listing = Mapping[str, Entry]


@dataclass(frozen=True)
class SyncPlan:
    """What a sync will do, as paths relative to both roots, each sorted.

    Attributes:
        copy: missing or different at the destination.
        skip: the same on both sides.
        delete: at the destination only; empty unless deletion was asked for.
        bytes_to_copy: sum of the sizes of ``copy``.
    """

    copy: tuple[str, ...]
    skip: tuple[str, ...]
    delete: tuple[str, ...]
    bytes_to_copy: int


def plan_sync(
    source: Listing,
    destination: Listing,
    *,
    delete: bool = False,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> SyncPlan:
    """Compare two listings.

    Args:
        source: what there should be.
        destination: what there is.
        delete: remove what only the destination has.
        include: glob patterns of the files that take part; empty means all.
        exclude: glob patterns of files that are left alone on both sides; stronger than ``include``.

    Returns:
        The plan. A file whose sameness cannot be told from the listings is copied.
    """
    chosen = selector(include, exclude)
    copy = [path for path in source if chosen(path) and not same(source[path], destination.get(path))]
    skip = [path for path in source if chosen(path) and same(source[path], destination.get(path))]
    gone = [path for path in destination if path not in source and chosen(path)] if delete else []
    return SyncPlan(
        tuple(sorted(copy)), tuple(sorted(skip)), tuple(sorted(gone)), sum(source[path].size for path in copy)
    )


def same(source: Entry, destination: Entry | None) -> bool:
    """Whether the destination's file is known to be the source's."""
    if destination is None or destination.size != source.size or source.tag is None:
        return False
    return source.tag in {destination.tag, destination.origin}


def undecided(
    source: Listing, destination: Listing, *, include: Iterable[str] = (), exclude: Iterable[str] = ()
) -> tuple[str, ...]:
    """Paths whose sameness takes a closer look: equal sizes, but tags that are missing or differ."""
    chosen = selector(include, exclude)
    return tuple(
        path
        for path, entry in source.items()
        if path in destination
        and destination[path].size == entry.size
        and not same(entry, destination[path])
        and chosen(path)
    )


def selector(include: Iterable[str], exclude: Iterable[str]) -> Callable[[str], bool]:
    """A test of paths against patterns: included (or no patterns at all) and not excluded.

    ``*`` and ``?`` stay within one folder, ``**`` crosses folders, ``[abc]`` is one of these characters. A pattern
    without a slash fits the file's name in any folder; one that ends with a slash fits everything below that folder.
    """
    includes, excludes = [_pattern(glob) for glob in include], [_pattern(glob) for glob in exclude]

    def chosen(path: str) -> bool:
        if includes and not any(pattern.match(path) for pattern in includes):
            return False
        return not any(pattern.match(path) for pattern in excludes)

    return chosen


_PARTS = re.compile(
    r"(?P<deep>(?:^|(?<=/))\*\*/)|(?P<any>\*\*)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[(?:!|(?!!))(?:\][^\]/]*|[^\]/]+)\])"
)


@lru_cache(maxsize=256)
def _pattern(glob: str) -> re.Pattern[str]:
    anchored = "/" in glob.rstrip("/")
    body = glob.removeprefix("/")
    body = f"{body}**" if body.endswith("/") else body
    return re.compile(("" if anchored else "(?:.*/)?") + _translate(body) + r"\Z", re.DOTALL)


def _translate(glob: str) -> str:
    wild = {"deep": "(?:.*/)?", "any": ".*", "star": "[^/]*", "one": "[^/]"}
    result, position = [], 0
    for match in _PARTS.finditer(glob):
        result.append(re.escape(glob[position : match.start()]))
        kind = match.lastgroup or ""
        result.append(wild.get(kind) or _character_set(match[0]))
        position = match.end()
    return "".join([*result, re.escape(glob[position:])])


def _character_set(text: str) -> str:
    found = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", fnmatch.translate(text), re.DOTALL)
    return f"(?!/){found[1]}" if found else re.escape(text)
