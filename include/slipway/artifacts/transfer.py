"""Make an S3 prefix or a local folder the mirror of another, copying only what differs.

S3 to S3 is copied inside S3; S3 to a folder and back goes through obstore, or boto3 where that refuses. Every file is
checked against its content tag and appears at once and whole; a sync that was killed goes on where it stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import boto3
from botocore.config import Config

from slipway.artifacts.bucket import Bucket
from slipway.artifacts.content_tag import file_has_tag
from slipway.artifacts.download import Download
from slipway.artifacts.local_folder import LocalFolder
from slipway.artifacts.location import LocalLocation, S3Location, check_local_names, parse_location
from slipway.artifacts.manifest import ArtifactManifest
from slipway.artifacts.server_copy import ServerCopy
from slipway.artifacts.sync_plan import Entry, SyncPlan, plan_sync, selector, undecided
from slipway.artifacts.upload import Upload
from slipway.artifacts.work import Work, run_all
from slipway.errors import InvalidInputError, PermanentError

Side = Bucket | LocalFolder


@dataclass(frozen=True)
class SyncProgress:
    """How far a sync is: files and bytes that are done, and that there are to do."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int


@dataclass(frozen=True)
class SyncResult:
    """What a sync did.

    Attributes:
        plan: what was to do.
        copied: number of files copied; 0 in a dry run.
        skipped: number of files that were the same already.
        deleted: number of files deleted at the destination; 0 in a dry run.
        bytes_copied: bytes of the copied files.
        seconds: wall-clock time.
        manifest: the source's files that took part, with their checksums.
    """

    plan: SyncPlan
    copied: int
    skipped: int
    deleted: int
    bytes_copied: int
    seconds: float
    manifest: ArtifactManifest


def sync(
    source_uri: str,
    destination_uri: str,
    *,
    session: boto3.Session,
    endpoint_url: str | None = None,
    delete: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    dry_run: bool = False,
    workers: int = 16,
    verify: bool | str | None = None,
    config: Config | None = None,
    on_progress: Callable[[SyncProgress], None] | None = None,
) -> SyncResult:
    """Make the destination hold what the source holds.

    Args:
        source_uri: ``s3://bucket/prefix`` or a local folder.
        destination_uri: the same; at least one of both is on S3.
        session: boto3 session whose credentials are used (assumed roles are refreshed).
        endpoint_url: another S3 than AWS's.
        delete: also remove what only the destination has (after all copies succeeded).
        include: glob patterns of the files that take part (see ``sync_plan.selector``); empty means all.
        exclude: glob patterns of files that are left alone on both sides.
        dry_run: only plan.
        workers: copies at a time.
        verify: whether to verify TLS certificates, or the path of a CA bundle; None: botocore's default.
        config: settings of the botocore client, proxies for example.
        on_progress: called from working threads after each file or piece.

    Returns:
        The plan and what was done.

    Raises:
        InvalidInputError: no such bucket or folder, nothing at the source, or the two places overlap.
        UnsafePathError: a name that would leave the destination folder.
        AccessDeniedError, StorageUnavailableError, ThrottledError: S3; running the sync again goes on.
    """
    began = time.monotonic()
    source, destination = _open_sides(
        source_uri,
        destination_uri,
        partial(Bucket, session, endpoint_url=endpoint_url, workers=workers, verify=verify, config=config),
    )
    run = _Run(source, destination, include, exclude, workers, on_progress)
    try:
        plan = run.plan(delete=delete, source_uri=source_uri)
        if not dry_run:
            run.execute(plan)
    except OSError as error:
        raise PermanentError(f"Cannot copy {source_uri} to {destination_uri}: {error}") from error
    return SyncResult(
        plan=plan,
        copied=0 if dry_run else len(plan.copy),
        skipped=len(plan.skip),
        deleted=0 if dry_run else len(plan.delete),
        bytes_copied=0 if dry_run else plan.bytes_to_copy,
        seconds=time.monotonic() - began,
        manifest=run.manifest(plan),
    )


class _Run:
    """One sync between two sides."""

    def __init__(
        self,
        source: Side,
        destination: Side,
        include: Sequence[str],
        exclude: Sequence[str],
        workers: int,
        on_progress: Callable[[SyncProgress], None] | None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._patterns = {"include": tuple(include), "exclude": tuple(exclude)}
        self._workers = workers
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._progress = SyncProgress(0, 0, 0, 0)
        self._entries: dict[str, Entry] = {}

    def plan(self, *, delete: bool, source_uri: str) -> SyncPlan:
        """List both sides, look closer where the listings do not tell, and plan."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            ahead = pool.submit(_list_destination, self._destination)
            listed = self._source.listing() if isinstance(self._source, Bucket) else self._source.source_listing()
            there = ahead.result()
        chosen = selector(**self._patterns)
        self._entries = {path: entry for path, entry in listed.items() if chosen(path)}
        if not self._entries:
            raise InvalidInputError(f"There is nothing to copy: {source_uri} holds no files (that take part).")
        if isinstance(self._destination, LocalFolder):
            check_local_names(self._entries, one_case=self._destination.one_case())
        self._decide(there)
        return plan_sync(self._entries, there, delete=delete, **self._patterns)

    def execute(self, plan: SyncPlan) -> None:
        """Copy, then delete."""
        self._progress = SyncProgress(0, len(plan.copy), 0, plan.bytes_to_copy)
        # Big files first: their pieces keep all threads busy to the end.
        order = sorted(plan.copy, key=lambda path: -self._entries[path].size)
        run_all([self._work(self._entries[path]) for path in order], self._workers)
        if isinstance(self._destination, Bucket):
            self._destination.delete(plan.delete)
        else:
            for path in plan.delete:
                self._destination.delete(path)
            self._destination.remove_leftovers()

    def manifest(self, plan: SyncPlan) -> ArtifactManifest:
        """The source's files; tags that nothing has asked for yet are read now."""
        if isinstance(self._source, LocalFolder):
            for path in plan.copy:
                if self._entries[path].tag is None:
                    self._tagged(path, self._source.tag(path))
        return ArtifactManifest.of(self._entries.values())

    def _decide(self, there: dict[str, Entry]) -> None:
        """Find out what the listings leave open: hash local files, ask objects for their origin."""
        if isinstance(self._source, LocalFolder):
            open_paths = [path for path in undecided(self._entries, there) if self._entries[path].tag is None]
            run_all([self._hash(self._source, path) for path in open_paths], self._workers)
        looks = [self._look(path, there) for path in undecided(self._entries, there)]
        run_all(looks, self._workers)

    def _hash(self, folder: LocalFolder, path: str) -> Work:
        return lambda: self._tagged(path, folder.tag(path))

    def _look(self, path: str, there: dict[str, Entry]) -> Work:
        def look() -> None:
            if isinstance(self._destination, Bucket):
                there[path] = self._destination.with_origin(there[path])
                return
            entry = self._entries[path]
            if entry.tag and file_has_tag(self._destination.path(path), entry.size, entry.tag):
                self._destination.remember_origin(path, entry.tag)
                there[path] = replace(there[path], origin=entry.tag)

        return look

    def _work(self, entry: Entry) -> Work:
        source, destination = self._source, self._destination
        start: Work
        if isinstance(source, LocalFolder):
            assert isinstance(destination, Bucket)
            start = Upload(source, entry, destination, self._count, self._tagged).start
        elif isinstance(destination, Bucket):
            start = ServerCopy(source, entry, destination, self._count).start
        else:
            start = Download(source, entry, destination, self._count).start
        return start

    def _tagged(self, path: str, tag: str) -> None:
        self._entries[path] = replace(self._entries[path], tag=tag)

    def _count(self, count: int, files: int) -> None:
        with self._lock:
            done = self._progress
            self._progress = replace(done, bytes=done.bytes + count, files=done.files + files)
            if self._on_progress:
                self._on_progress(self._progress)


def _list_destination(destination: Side) -> dict[str, Entry]:
    if isinstance(destination, Bucket):
        return dict(destination.listing())
    return destination.destination_listing()


def _open_sides(
    source_uri: str, destination_uri: str, open_bucket: Callable[[S3Location], Bucket]
) -> tuple[Side, Side]:
    source, destination = parse_location(source_uri), parse_location(destination_uri)
    if isinstance(source, LocalLocation) and isinstance(destination, LocalLocation):
        raise InvalidInputError(
            f"Neither {source_uri!r} nor {destination_uri!r} is on S3: expected s3://bucket/prefix."
        )
    if str(source).startswith(str(destination)) or str(destination).startswith(str(source)):
        raise InvalidInputError(f"{source_uri} and {destination_uri} overlap: one would be copied into itself.")
    sides: Iterable[Side] = (
        open_bucket(place) if isinstance(place, S3Location) else LocalFolder(place.folder)
        for place in (source, destination)
    )
    first, second = sides
    return first, second
