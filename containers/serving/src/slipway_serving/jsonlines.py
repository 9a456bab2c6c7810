"""JSON lines in and out: one row a line, as SageMaker's batch transform sends and joins them.

A line is an object (column → value) or an array (values in the order of the signature's columns).
"""

from __future__ import annotations

import json

import orjson

from slipway_serving.message import JSON_LINES, RequestError, Response


def to_dataframe_json(body: bytes, columns: list[str] | None) -> bytes:
    """Rewrite JSON lines as one of MLflow's JSON documents.

    Parameters
    ----------
    body
        The lines; empty lines are skipped.
    columns
        Column names of the signature, ``None`` when it has none.

    Returns
    -------
    bytes
        ``dataframe_records`` for objects, ``dataframe_split`` for arrays.

    Raises
    ------
    RequestError
        A line is not JSON, or lines are of different kinds.
    """
    rows = [_parse_line(number, line) for number, line in enumerate(body.splitlines(), 1) if line.strip()]
    if rows and all(isinstance(row, dict) for row in rows):
        document: dict[str, object] = {"dataframe_records": rows}
    elif rows and all(isinstance(row, list) for row in rows):
        split: dict[str, object] = {"data": rows}
        if columns is not None:
            split["columns"] = columns
        document = {"dataframe_split": split}
    else:
        raise RequestError("JSON lines must hold one JSON object, or one JSON array, on every line")
    try:
        return json.dumps(document).encode()
    except RecursionError:
        raise RequestError("a line is nested too deep") from None


def _parse_line(number: int, line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"line {number} is not valid JSON: {error}") from None


def answer_as_asked(answer: bytes, accept: str) -> Response:
    """Return a JSON answer as it is, or with one prediction a line when the caller accepts JSON lines.

    Parameters
    ----------
    answer
        ``{"predictions": …}``.
    accept
        The request's ``Accept`` header.
    """
    if accept.partition(";")[0].strip().lower() != JSON_LINES:
        return Response(200, answer)
    document = json.loads(answer)
    predictions = document.get("predictions", document) if isinstance(document, dict) else document
    rows = predictions if isinstance(predictions, list) else [predictions]
    return Response(200, b"".join(orjson.dumps(row) + b"\n" for row in rows), JSON_LINES)
