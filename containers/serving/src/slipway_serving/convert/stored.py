"""Parity against stored answers, for originals that cannot run where engines are chosen: Spark needs a JVM and sockets.

The answers were written beside the model by those who trained it, from the very model that they saved.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slipway_serving.convert.parity import Parity
from slipway_serving.message import CSV, JSON, Request, RequestError

if TYPE_CHECKING:
    from pathlib import Path

    from slipway_serving.engines.fast import FastEngine

MIN_ROWS = 10  # fewer prove nothing about a model with branches


def compare_stored(compiled: FastEngine, golden_file: Path) -> Parity:
    """Ask a compiled model what the original was asked.

    Parameters
    ----------
    compiled
        The candidate.
    golden_file
        ``golden.json``: requests as JSON and CSV, with the original's answers; see ``selftest``.

    Returns
    -------
    Parity
        Passed if every answer is equal, as ``parity.compare`` means it.
    """
    golden = json.loads(golden_file.read_text(encoding="utf-8"))
    parity = Parity()
    count = len(golden["rows"])
    if count < MIN_ROWS:
        parity.mismatch = f"{count} stored answers, {MIN_ROWS} are the least that is taken for a proof"
        return parity
    document = golden.get("json") or {"dataframe_split": {"columns": golden["columns"], "data": golden["rows"]}}
    _check(compiled, Request(json.dumps(document).encode(), JSON), golden["answers"], parity)
    if golden.get("csv") and not parity.mismatch:
        _check(compiled, Request(golden["csv"].encode(), CSV), golden["csv_answers"], parity)
    return parity


def _check(compiled: FastEngine, request: Request, expected: list[object], parity: Parity) -> None:
    try:
        found = json.loads(compiled.answer(request).body)["predictions"]
    except RequestError as error:
        parity.mismatch = f"the stored rows as {request.content_type} are refused: {error}"
        return
    parity.check(expected, found, f"the stored rows as {request.content_type}")
    parity.rows += len(expected)
