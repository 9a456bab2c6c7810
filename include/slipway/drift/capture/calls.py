"""Captured calls one by one, without the model's schema: when, whether the answer can be used, and its number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from slipway.drift.capture.lines import ByteStream, lines_of
from slipway.drift.capture.payload import PayloadError, answers_of, body_of, parse_json, rows_of_json
from slipway.endpoints.probe import PROBE_ID

_CSV = "text/csv"


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """One call of a user.

    Args:
        at: When it was answered, in seconds since 1970.
        usable: Whether the answer has a value for each row of the request.
        number: The first row's answer; None when it is no number.
    """

    at: float
    usable: bool
    number: float | None = None


def read_calls(stream: ByteStream) -> Iterator[CapturedCall]:
    """Read the calls of one capture object.

    What cannot be read as a call (broken lines, no time, no output captured) is left out, as are Slipway's own
    probes: both say nothing about the model.

    Args:
        stream: The object's bytes, JSON lines.
    """
    for line in lines_of(stream):
        if line is None:
            continue
        try:
            record = orjson.loads(line)
            data, event = record["captureData"], record["eventMetadata"]
            at = datetime.fromisoformat(event["inferenceTime"])
            answer = data["endpointOutput"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            continue
        if event.get("inferenceId") == PROBE_ID or not isinstance(answer, dict):
            continue
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        yield _judged(at.timestamp(), data.get("endpointInput"), answer)


def _judged(at: float, request: Any, answer: dict[str, Any]) -> CapturedCall:
    try:
        answers = answers_of(*body_of(answer))
    except PayloadError:
        return CapturedCall(at, usable=False)
    wanted = _rows(request) if isinstance(request, dict) else None
    complete = bool(answers) if wanted is None else len(answers) in wanted
    numbers = [_number(each) for each in answers]
    missing = any(_is_missing(each) for each in answers)
    return CapturedCall(at, complete and not missing, numbers[0] if numbers else None)


def _rows(request: dict[str, Any]) -> tuple[int, ...] | None:
    """How many answers a request may get; None when its form does not say.

    The first line of CSV is a row or a header: only the model's schema tells.
    """
    try:
        body, media = body_of(request)
        if media == _CSV or request.get("encoding") == "CSV":
            text = body if isinstance(body, str) else body.decode()
            lines = sum(1 for line in text.splitlines() if line.strip())
            return None if '"' in text else (lines, lines - 1)
        return (len(rows_of_json(parse_json(body)).rows),)
    except (PayloadError, UnicodeDecodeError):
        return None


def _is_missing(answer: Any) -> bool:
    values = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else [answer]
    return any(value is None or (isinstance(value, float) and not math.isfinite(value)) for value in values)


def _number(answer: Any) -> float | None:
    """The number that stands for an answer: of several (a chance for each class) the last."""
    values = list(answer.values()) if isinstance(answer, dict) else answer if isinstance(answer, list) else [answer]
    last = values[-1] if values else None
    if isinstance(last, bool) or not isinstance(last, int | float) or not math.isfinite(last):
        return None
    return float(last)
