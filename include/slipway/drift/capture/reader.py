"""Capture files as Arrow batches: streaming, in constant memory, and never stopped by a bad record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from slipway.drift.capture.assembly import answer_arrays, batch_of, input_arrays
from slipway.drift.capture.lines import ByteStream, lines_of
from slipway.drift.capture.payload import (
    PayloadError,
    Rows,
    answers_of,
    body_of,
    parse_json,
    rows_of_csv,
    rows_of_json,
    rows_of_json_lines,
)
from slipway.drift.profile import ERROR_ANSWER
from slipway.drift.schema import ModelSchema
from slipway.endpoints.probe import PROBE_ID

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 8_192
#: Text that may wait for a batch; long rows make batches of fewer rows.
_BATCH_BYTES = 32 << 20
#: Rejected records that are kept, of one object; all are counted.
KEPT_REJECTED = 100
_KEPT_CHARACTERS = 2000
_JSON_LINES = frozenset({"application/jsonlines", "application/x-ndjson", "application/jsonl"})


class Reason(StrEnum):
    """Why a record was set aside."""

    TOO_LONG = "too_long"
    NOT_JSON = "not_json"
    NO_REQUEST = "no_request"
    BAD_REQUEST = "bad_request"
    OTHER_COLUMNS = "other_columns"
    ERROR_ANSWER = ERROR_ANSWER
    ANSWER_COUNT = "answer_count"


@dataclass(frozen=True)
class Rejected:
    """A record that was set aside: its line (from 1), the reason, the beginning of its text."""

    line: int
    reason: Reason
    detail: str
    text: str


@dataclass
class CaptureCounts:
    """What was read so far; filled while the batches are taken."""

    records: int = 0
    rows: int = 0
    probes: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unknown_columns: Counter[str] = field(default_factory=Counter)
    kept: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True)
class CaptureBatch:
    """Rows of one form.

    Args:
        rows: Features and predictions; ``other`` types become text.
        calls: How many calls they came in.
        first: Time of the earliest call among them.
        last: Time of the latest.
        events: For each row the inference id (the client's, else SageMaker's event id), its number in the request, and
            the time; None unless asked for.
    """

    rows: pa.RecordBatch
    calls: int
    first: datetime | None
    last: datetime | None
    events: pa.RecordBatch | None = None


_Form = tuple[tuple[str, ...] | None, bool, bool]


class _Rejection(Exception):  # noqa: N818  # control flow inside this module
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass
class _Group:
    """Rows with the same columns, waiting to become a batch."""

    columns: tuple[str, ...] | None
    text: bool
    raw: bool
    calls: int = 0
    rows: list[Sequence[Any]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    times: list[str | None] = field(default_factory=list)
    first: str | None = None
    last: str | None = None


def read_captures(
    stream: ByteStream, schema: ModelSchema, counts: CaptureCounts, *, events: bool = False
) -> Iterator[CaptureBatch]:
    """Read one capture object.

    Args:
        stream: Its bytes, JSON lines.
        schema: The model's.
        counts: Receives the numbers of records and rows and what was set aside.
        events: Whether to return ids and times too, for joining labels.

    Yields:
        Batches of at most some 8,192 rows (one request is never split), each of one form of request.
    """
    groups: dict[_Form, _Group] = {}
    waiting_rows = waiting_bytes = 0
    known = _Known(schema)
    for number, line in enumerate(lines_of(stream), start=1):
        counts.records += 1
        try:
            parsed = _parse(line, known)
        except _Rejection as error:
            _set_aside(counts, number, error, line)
            continue
        if parsed is None:
            counts.probes += 1
            continue
        record, found, answers = parsed
        key = (found.columns, found.text, found.raw)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(*key)
        _add(group, record, found, answers, events=events)
        waiting_rows += len(found.rows)
        waiting_bytes += len(line or b"")
        if waiting_rows >= BATCH_ROWS or waiting_bytes >= _BATCH_BYTES:
            yield from _flush(groups, known, counts)
            waiting_rows = waiting_bytes = 0
    yield from _flush(groups, known, counts)


def _is_probe(record: dict[str, Any]) -> bool:
    """Whether Slipway itself was the caller, see :mod:`slipway.endpoints.probe`."""
    event = record.get("eventMetadata")
    return isinstance(event, dict) and event.get("inferenceId") == PROBE_ID


class _Known:
    """The schema with what the inner loop asks of it."""

    def __init__(self, schema: ModelSchema) -> None:
        self.schema = schema
        self.names = [column.name for column in schema.inputs]
        self.all_names = frozenset(self.names) | frozenset(schema.passed_over)
        self.width = len(schema.inputs) + len(schema.passed_over)
        self._fitting: dict[tuple[str, ...], bool] = {}

    def fits(self, rows: Rows) -> bool:
        """Whether the rows can be put under the model's columns: by name, or by number when all are watched."""
        if rows.columns is None:
            return rows.width == self.width and not self.schema.passed_over
        if rows.columns not in self._fitting:
            self._fitting[rows.columns] = not set(self.names).isdisjoint(rows.columns)
        return self._fitting[rows.columns]


def _parse(line: bytes | None, known: _Known) -> tuple[dict[str, Any], Rows, list[Any] | None] | None:
    """The record, its rows and its answers; None for a call of Slipway's own probe, whatever it holds."""
    if line is None:
        raise _Rejection(Reason.TOO_LONG, "longer than any record of SageMaker")
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _Rejection(Reason.NOT_JSON, str(error)) from None
    data = record.get("captureData") if isinstance(record, dict) else None
    if data is not None and _is_probe(record):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("endpointInput"), dict):
        raise _Rejection(Reason.NO_REQUEST, "expected captureData.endpointInput; is only the output captured?")
    found = _request(data["endpointInput"], known)
    side = data.get("endpointOutput")
    return record, found, _answers(side, len(found.rows)) if isinstance(side, dict) else None


def _request(side: dict[str, Any], known: _Known) -> Rows:
    try:
        body, media = body_of(side)
        if media == "text/csv" or side.get("encoding") == "CSV":
            found = rows_of_csv(body, known.names)
        elif media in _JSON_LINES:
            found = rows_of_json_lines(body)
        else:
            found = rows_of_json(parse_json(body))
    except PayloadError as error:
        raise _Rejection(Reason.BAD_REQUEST, str(error)) from None
    if not known.fits(found):
        raise _Rejection(Reason.OTHER_COLUMNS, f"expected {known.names[:8]}, found {_described(found)}")
    return found


def _described(found: Rows) -> str:
    return f"{found.width} values without names" if found.columns is None else str(list(found.columns[:8]))


def _answers(side: dict[str, Any], rows: int) -> list[Any]:
    try:
        answers = answers_of(*body_of(side))
    except PayloadError as error:
        raise _Rejection(Reason.ERROR_ANSWER, str(error)) from None
    if len(answers) != rows:
        raise _Rejection(Reason.ANSWER_COUNT, f"{rows} rows were sent, {len(answers)} answers came back")
    return answers


def _add(group: _Group, record: dict[str, Any], found: Rows, answers: list[Any] | None, *, events: bool) -> None:
    group.calls += 1
    group.rows.extend(found.rows)
    size = len(found.rows)
    group.answers.extend(answers if answers is not None else [None] * size)
    event = record.get("eventMetadata")
    if not isinstance(event, dict):
        event = {}
    at = event.get("inferenceTime")
    if isinstance(at, str):
        group.first = at if group.first is None or at < group.first else group.first
        group.last = at if group.last is None or at > group.last else group.last
    if events:
        group.ids.extend([event.get("inferenceId") or event.get("eventId")] * size)
        group.numbers.extend(range(size))
        group.times.extend([at if isinstance(at, str) else None] * size)


def _set_aside(counts: CaptureCounts, number: int, error: _Rejection, line: bytes | None) -> None:
    counts.rejected[error.reason.value] += 1
    if len(counts.kept) < KEPT_REJECTED:
        text = (line or b"")[:_KEPT_CHARACTERS].decode(errors="replace")
        counts.kept.append(Rejected(number, error.reason, str(error), text))


def _flush(groups: dict[_Form, _Group], known: _Known, counts: CaptureCounts) -> Iterator[CaptureBatch]:
    for group in groups.values():
        counts.rows += len(group.rows)
        for name in group.columns or ():
            if name not in known.all_names:
                counts.unknown_columns[name] += len(group.rows)
        arrays = input_arrays(known.schema, group.columns, group.rows, text=group.text, raw=group.raw)
        arrays |= answer_arrays(known.schema, group.answers)
        yield CaptureBatch(batch_of(arrays), group.calls, _time(group.first), _time(group.last), _events(group))
    groups.clear()


def _events(group: _Group) -> pa.RecordBatch | None:
    if not group.ids:
        return None
    import pyarrow as pa

    times = [_time(at) for at in group.times]
    arrays = [
        pa.array(group.ids, pa.string()),
        pa.array(group.numbers, pa.int32()),
        pa.array(times, pa.timestamp("us", tz="UTC")),
    ]
    return pa.RecordBatch.from_arrays(arrays, ["inference_id", "row", "time"])


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
