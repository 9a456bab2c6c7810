"""The append-only history of a service: ``ledger/<service>/<run>/<task>/<n>.json``.

Keys follow from the run and the task, so a task that is run again finds what it wrote and writes it once. Entries
are never changed or deleted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from slipway.canonical import canonical_json, content_digest
from slipway.documents import DocumentStore, Listed, parse_document
from slipway.errors import PermanentError, StateConflictError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_KEPT_CHARACTERS = "~:+"
_ATTEMPTS = 10


class LedgerEntry(BaseModel):
    """One action or decision: what was done, to what, by whom, why.

    Two equal entries of one task are one: what happens twice has to differ in ``detail`` (a step, a look).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: str = Field(min_length=1, description="what was done, as a verb: created, approved, rolled_back, deleted")
    subject: str = Field(min_length=1, description="to what: a release, an endpoint, an alias")
    user: str = Field(min_length=1, description="on whose behalf")
    reason: str = Field("", description="why, in words")
    detail: dict[str, Any] = Field(
        default_factory=dict, description="numbers and names; NaN becomes null; of a delete: what restores it"
    )


class LedgerRecord(LedgerEntry):
    """An entry as it stands in the ledger."""

    service: str
    run_id: str
    task_id: str
    n: int = Field(ge=0, description="number of the entry within its task")
    at: AwareDatetime = Field(description="when it was written")

    def entry(self) -> LedgerEntry:
        """Return what was recorded, without where and when."""
        return LedgerEntry.model_validate(self.model_dump(include=set(LedgerEntry.model_fields)))


class Ledger:
    """Writes and reads the ledger in the artifact bucket.

    Args:
        s3: a boto3 S3 client.
        bucket: the artifact bucket.
        now: the clock, with time zone.
    """

    def __init__(self, s3: S3Client, bucket: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._documents = DocumentStore(s3, bucket)
        self._now = now
        # A watch records hundreds of looks: entries never change, so each is read once.
        self._recorded: dict[str, tuple[int, str]] = {}

    def record(self, service: str, run_id: str, task_id: str, entry: LedgerEntry) -> str:
        """Append an entry unless this task has recorded an equal one.

        Args:
            service: the service's name.
            run_id: the DAG run.
            task_id: the task within it.
            entry: what to record. Never secrets.

        Returns:
            The key under which the entry stands, new or old.

        Raises:
            PermanentError: a name that cannot be part of a key.
            SlipwayError: S3 does not answer or refuses.
        """
        prefix = f"{_prefix(service)}{_part(run_id)}/{_part(task_id)}/"
        wanted = _digest(entry)
        for _ in range(_ATTEMPTS):
            there = self._recorded_below(prefix)
            for key, (_, digest) in there.items():
                if digest == wanted:
                    return key
            n = max((number for number, _ in there.values()), default=-1) + 1
            key = f"{prefix}{n}.json"
            if self._documents.create(key, self._spell(service, run_id, task_id, n, entry)):
                return key
        raise StateConflictError(f"Others kept writing below {self._documents.uri(prefix)} while an entry was added.")

    def read(self, service: str, *, limit: int | None = None) -> list[LedgerRecord]:
        """Read the history of a service.

        Args:
            service: the service's name.
            limit: at most so many entries; None reads all.

        Returns:
            The entries, newest first.

        Raises:
            PermanentError: an object below the ledger is no entry; the message names it.
            SlipwayError: S3 does not answer or refuses.
        """
        newest = sorted(self._documents.list(_prefix(service)), key=lambda item: item.modified, reverse=True)
        if limit is not None and limit < len(newest):
            # S3 gives whole seconds: those of the last second that counts are all read, then ordered exactly.
            last = newest[limit - 1].modified if limit > 0 else None
            newest = [item for item in newest if last is not None and item.modified >= last]
        records = [record for record, _ in self._read_all(iter(newest))]
        records.sort(key=lambda record: (record.at, record.run_id, record.task_id, record.n), reverse=True)
        return records[:limit]

    def _recorded_below(self, prefix: str) -> dict[str, tuple[int, str]]:
        """Number and digest of each entry of a task, by key."""
        listed = list(self._documents.list(prefix))
        for record, key in self._read_all(item for item in listed if item.key not in self._recorded):
            self._recorded[key] = (record.n, _digest(record.entry()))
        return {item.key: self._recorded[item.key] for item in listed if item.key in self._recorded}

    def _read_all(self, listing: Iterator[Listed]) -> Iterator[tuple[LedgerRecord, str]]:
        for item in listing:
            document = self._documents.read(item.key)
            if document is None:
                continue  # somebody cleans up: what is gone between listing and reading is no longer history
            uri = self._documents.uri(item.key)
            try:
                yield LedgerRecord.model_validate(parse_document(document.body, uri)), item.key
            except ValidationError as error:
                raise PermanentError(f"{uri} is not a ledger entry: {error}") from None

    def _spell(self, service: str, run_id: str, task_id: str, n: int, entry: LedgerEntry) -> bytes:
        place = {"service": service, "run_id": run_id, "task_id": task_id, "n": n, "at": self._now()}
        record = LedgerRecord.model_validate({**entry.model_dump(), **place})
        return canonical_json(record.model_dump(mode="json"))


def _digest(entry: LedgerEntry) -> str:
    return content_digest(entry.model_dump(mode="json"))


def _prefix(service: str) -> str:
    return f"ledger/{_part(service)}/"


def _part(name: str) -> str:
    """One step of a key: Airflow's ids as they are, anything else escaped, so that no name reaches into another's."""
    if name in {"", ".", ".."}:
        raise PermanentError(f"{name!r} cannot be part of a ledger key; expected the name of a service, run or task.")
    return quote(name, safe=_KEPT_CHARACTERS)
