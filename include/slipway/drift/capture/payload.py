"""One side of a captured call: from what was recorded to rows.

Requests come in every form that MLflow's scoring server takes (``dataframe_split``, ``dataframe_records``,
``instances``, ``inputs``; https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/), in MLflow 1's bare
forms, as JSON lines, and as CSV with or without a header.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

_UNEVEN = "CSV lines of different length, or none; the first has {} fields"


class PayloadError(ValueError):
    """A request or an answer that is no table of rows; the message says why."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one request.

    Args:
        columns: Their names; None when only their order says which is which.
        rows: The values of each row.
        text: Whether all values are text, as in CSV.
        raw: Whether the rows are whole lines of CSV without quotes, which Arrow parses much faster than Python splits.
    """

    columns: tuple[str, ...] | None
    rows: Sequence[Sequence[Any]]
    text: bool = False
    raw: bool = False

    @property
    def width(self) -> int:
        """Values in a row."""
        first = self.rows[0]
        return first.count(",") + 1 if isinstance(first, str) else len(first)


def body_of(side: Mapping[str, Any]) -> tuple[str | bytes, str]:
    """Return the recorded body and its media type in lower case.

    Raises:
        PayloadError: The body is missing or is not the base64 that it says it is.
    """
    data = side.get("data")
    if not isinstance(data, str):
        raise PayloadError("nothing was recorded")
    media = str(side.get("observedContentType") or "").partition(";")[0].strip().lower()
    if side.get("encoding") != "BASE64":
        return data, media
    try:
        return base64.b64decode(data, validate=True), media
    except (binascii.Error, ValueError) as error:
        raise PayloadError(f"not base64: {error}") from None


def parse_json(body: str | bytes) -> Any:
    """Parse JSON; NaN and infinities, which Python's clients write, are accepted.

    Raises:
        PayloadError: It is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        value = json.loads(body)
        # Python also takes halves of surrogate pairs, which are no text that could be stored.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"not JSON: {str(error)[:100]}") from None
    return value


def rows_of_json(value: Any) -> Rows:
    """Return the rows of a request's JSON.

    Raises:
        PayloadError: It has none of the known forms.
    """
    if isinstance(value, list):
        return _rows_of_list(value)
    if not isinstance(value, dict):
        raise PayloadError(f"expected an object or a list, found {type(value).__name__}")
    if "dataframe_split" in value:
        return _split(value["dataframe_split"])
    if "dataframe_records" in value:
        return _rows_of_list(value["dataframe_records"])
    for name in ("instances", "inputs"):
        if name in value:
            found = value[name]
            return _rows_of_columns(found) if isinstance(found, dict) else _rows_of_list(found)
    if "data" in value:
        return _split(value)
    return Rows(tuple(value), [list(value.values())])


def rows_of_csv(body: str | bytes, names: Sequence[str]) -> Rows:
    """Return the rows of CSV.

    Args:
        body: The text.
        names: The model's columns; a first line of which at least half are names of columns is a header.

    Raises:
        PayloadError: It is empty, no text, or its lines differ in length.
    """
    text = text_of(body)
    if '"' not in text:
        return _plain_csv(text.splitlines(), frozenset(names))
    lines = [line for line in csv.reader(io.StringIO(text)) if line]
    if not lines:
        raise PayloadError("empty")
    columns = tuple(lines.pop(0)) if _is_header(lines[0], frozenset(names)) else None
    width = len(columns or lines[0]) if lines else 0
    if not lines or any(len(line) != width for line in lines):
        raise PayloadError(_UNEVEN.format(width))
    return Rows(columns, lines, text=True)


def _plain_csv(lines: list[str], names: frozenset[str]) -> Rows:
    lines = [line for line in lines if line]
    if not lines:
        raise PayloadError("empty")
    first = lines[0].split(",")
    header = _is_header(first, names)
    if header:
        del lines[0]
    commas = len(first) - 1
    if not lines or any(line.count(",") != commas for line in lines):
        raise PayloadError(_UNEVEN.format(len(first)))
    return Rows(tuple(first) if header else None, lines, text=True, raw=True)


def _is_header(first: Sequence[str], names: frozenset[str]) -> bool:
    """A first line of which at least half are names of columns."""
    return 2 * sum(field in names for field in first) >= len(first)


def text_of(body: str | bytes) -> str:
    """Return a body as text.

    Raises:
        PayloadError: It is not UTF-8.
    """
    if isinstance(body, str):
        return body
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"not UTF-8: {error.reason}") from None


def rows_of_json_lines(body: str | bytes) -> Rows:
    """Return the rows of JSON lines, one request or one row a line.

    Raises:
        PayloadError: A line is no JSON, or the lines have different forms.
    """
    values = [parse_json(line) for line in text_of(body).splitlines() if line.strip()]
    if values and isinstance(values[0], dict) and not {"dataframe_split", "instances", "inputs"}.isdisjoint(values[0]):
        parts = [rows_of_json(value) for value in values]
        if any(part.columns != parts[0].columns for part in parts):
            raise PayloadError("JSON lines with different columns")
        return Rows(parts[0].columns, [row for part in parts for row in part.rows])
    return _rows_of_list(values)


def answers_of(body: str | bytes, media: str) -> list[Any]:
    """Return the answers of a response, one for each row.

    Raises:
        PayloadError: It is an error, or no list of answers.
    """
    if media == "text/csv":
        lines = [line.split(",") for line in text_of(body).splitlines() if line]
        return [line[0] if len(line) == 1 else line for line in lines]
    if media in {"application/jsonlines", "application/x-ndjson"}:
        return [parse_json(line) for line in text_of(body).splitlines() if line.strip()]
    value = parse_json(body)
    if isinstance(value, dict):
        for name in ("predictions", "outputs"):
            if name in value:
                value = value[name]
                break
        else:
            if "error_code" in value or "error" in value or "message" in value:
                raise PayloadError(f"the endpoint answered an error: {_error(value)}")
    if isinstance(value, dict):
        return _columns_to_answers(value)
    return value if isinstance(value, list) else [value]


def _error(value: Mapping[str, Any]) -> str:
    return " ".join(str(value[name]) for name in ("error_code", "error", "message") if name in value)[:200]


def _columns_to_answers(value: Mapping[str, Any]) -> list[Any]:
    if value and all(isinstance(each, list) for each in value.values()):
        return [dict(zip(value, row, strict=False)) for row in zip(*value.values(), strict=False)]
    return [dict(value)]


def _split(value: Any) -> Rows:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise PayloadError('expected {"columns": […], "data": [[…], …]}')
    rows = value["data"]
    columns = value.get("columns")
    names = tuple(map(str, columns)) if isinstance(columns, list) else None
    width = len(names) if names is not None else None
    return Rows(names, _checked(rows, width))


def _checked(rows: list[Any], width: int | None) -> list[list[Any]]:
    """Rows of one width; single values are rows of one column."""
    if not rows:
        raise PayloadError("no rows")
    if not isinstance(rows[0], list):
        rows = [[row] for row in rows]
    expected = len(rows[0]) if width is None else width
    for row in rows:
        if not isinstance(row, list) or len(row) != expected:
            raise PayloadError(f"rows of different length; expected {expected} values")
    return rows


def _rows_of_list(value: Any) -> Rows:
    if not isinstance(value, list):
        raise PayloadError(f"expected a list of rows, found {type(value).__name__}")
    if not value or not isinstance(value[0], dict):
        return Rows(None, _checked(value, None))
    columns = tuple(value[0])
    rows = []
    for record in value:
        if not isinstance(record, dict):
            raise PayloadError("records and other values in one list")
        if len(record) != len(columns) or any(name not in record for name in columns):
            return _ragged(value)
        rows.append([record[name] for name in columns])
    return Rows(columns, rows)


def _ragged(records: Sequence[Any]) -> Rows:
    """Records with different fields: what one leaves out is missing in it."""
    if not all(isinstance(record, dict) for record in records):
        raise PayloadError("records and other values in one list")
    columns = tuple(dict.fromkeys(name for record in records for name in record))
    return Rows(columns, [[record.get(name) for name in columns] for record in records])


def _rows_of_columns(value: Mapping[str, Any]) -> Rows:
    lists = [each if isinstance(each, list) else [each] for each in value.values()]
    if not lists or len({len(each) for each in lists}) != 1 or not lists[0]:
        raise PayloadError("columns of different length, or none")
    flat = [[item[0] if isinstance(item, list) and len(item) == 1 else item for item in each] for each in lists]
    return Rows(tuple(value), list(zip(*flat, strict=True)))
