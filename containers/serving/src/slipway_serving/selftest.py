"""The self-test on start: the loaded model must give the golden rows' answers before the container is healthy."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway_serving.message import CSV, JSON, Request, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from slipway_serving.message import Response

GOLDEN_FILE = "golden.json"
RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class SelfTest:
    """What the self-test found.

    Parameters
    ----------
    passed
        Whether all answers were as expected; true as well when there are no golden rows.
    rows
        Rows compared.
    reason
        The first difference, empty when there is none.
    """

    passed: bool
    rows: int = 0
    reason: str = ""


def run_self_test(model_dir: Path, answer: Callable[[Request], Response], *, explain: bool = False) -> SelfTest:
    """Score the golden rows and compare.

    Parameters
    ----------
    model_dir
        Folder that may hold ``golden.json``: ``{"columns": […], "rows": [[…], …], "answers": […]}``, where ``json`` may
        give the whole request and ``csv`` with ``csv_answers`` another one.
    answer
        The engine.
    explain
        Answers come with contributions: the first row is tried so too. All of them could take minutes.
    """
    path = model_dir / GOLDEN_FILE
    if not path.is_file():
        return SelfTest(True)
    golden = json.loads(path.read_text(encoding="utf-8"))
    document = golden.get("json") or {"dataframe_split": {"columns": golden["columns"], "data": golden["rows"]}}
    requests = [(Request(json.dumps(document).encode(), JSON, explain=False), golden["answers"])]
    if golden.get("csv"):
        requests.append((Request(golden["csv"].encode(), CSV, explain=False), golden["csv_answers"]))
    if explain:
        requests.append(_first_row(document, golden["answers"]))
    rows = 0
    for request, expected in requests:
        try:
            response = answer(request)
        except RequestError as error:
            return SelfTest(False, rows, f"golden rows as {request.content_type} were refused: {error}")
        difference = first_difference(expected, json.loads(response.body)["predictions"])
        if difference is not None:
            return SelfTest(False, rows, difference)
        rows += len(expected) if isinstance(expected, list) else 1
    return SelfTest(True, rows)


def _first_row(document: dict[str, Any], answers: Any) -> tuple[Request, Any]:
    """Return an explained request for the first row; for all rows where the document is no plain list of rows."""
    split = document.get("dataframe_split", {})
    if isinstance(split.get("data"), list) and isinstance(answers, list) and len(split["data"]) == len(answers):
        first = {key: split[key][:1] if key in {"data", "index"} else split[key] for key in split}
        document, answers = {**document, "dataframe_split": first}, answers[:1]
    return Request(json.dumps(document).encode(), JSON), answers


def first_difference(expected: Any, found: Any, place: str = "answers") -> str | None:
    """Compare two JSON values, numbers within ``RELATIVE_TOLERANCE``.

    Returns
    -------
    str or None
        Where and how they differ first; ``None`` when they agree.
    """
    if expected is None and isinstance(found, float):
        same = not math.isfinite(found)  # the file has no other way to say not-a-number
    elif isinstance(expected, bool) or isinstance(found, bool):
        same = expected is found
    elif isinstance(expected, (int, float)) and isinstance(found, (int, float)):
        same = _close(float(expected), float(found))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return next((d for i, (e, f) in pairs if (d := first_difference(e, f, f"{place}[{i}]"))), None)
    elif isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return next(
            (d for key, e in expected.items() if (d := first_difference(e, found[key], f"{place}.{key}"))), None
        )
    else:
        same = expected == found
    return None if same else f"{place}: expected {expected!r}, found {found!r}"


def _close(expected: float, found: float) -> bool:
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    return math.isclose(expected, found, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
