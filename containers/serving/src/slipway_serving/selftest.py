"""The self-test on start: the loaded model must give the golden rows' answers before the container is healthy."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway_serving.message import Request, RequestError

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


def run_self_test(model_dir: Path, answer: Callable[[Request], Response]) -> SelfTest:
    """Score the golden rows and compare.

    Parameters
    ----------
    model_dir
        Folder that may hold ``golden.json``: ``{"columns": […], "rows": [[…], …], "answers": […]}``.
    answer
        The engine.
    """
    path = model_dir / GOLDEN_FILE
    if not path.is_file():
        return SelfTest(True)
    golden = json.loads(path.read_text(encoding="utf-8"))
    split = {"columns": golden["columns"], "data": golden["rows"]}
    expected = golden["answers"]
    try:
        response = answer(Request(json.dumps({"dataframe_split": split}).encode()))
    except RequestError as error:
        return SelfTest(False, 0, f"the golden rows were refused: {error}")
    predictions = json.loads(response.body)["predictions"]
    difference = first_difference(expected, predictions)
    return SelfTest(difference is None, len(expected), difference or "")


def first_difference(expected: Any, found: Any, place: str = "answers") -> str | None:
    """Compare two JSON values, numbers within ``RELATIVE_TOLERANCE``.

    Returns
    -------
    str or None
        Where and how they differ first; ``None`` when they agree.
    """
    if isinstance(expected, bool) or isinstance(found, bool):
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
