"""An endpoint's answer against the original model's. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slipway.endpoints.report import Form, FormResult, Mismatch

JSON = "application/json"

RELATIVE_TOLERANCE = 1e-9
"""How far a float may be from the original model's, relative to its size.

The same packages on another processor may add in another order (SIMD width, threads of a BLAS), which moves a double
by some 1e-16 per operation: 1e-9 leaves room for a million of them. A changed weight, a float32 in between (1e-7) or a
tree that takes another branch moves it by far more.
"""
ABSOLUTE_TOLERANCE = 1e-12
"""The same for answers near zero, where cancellation leaves nothing to be relative to."""

_LONGEST_VALUE = 300
Path = tuple[int | str, ...]


@dataclass(frozen=True)
class Answer:
    """What the container answered.

    Args:
        status: its HTTP status.
        content_type: of the body.
        body: the body; of an error, its text.
        seconds: from request to answer, as the client saw it.
    """

    status: int
    content_type: str
    body: bytes
    seconds: float


def compare_answer(
    form: Form, expected: Any, answer: Answer, relative_tolerance: float = RELATIVE_TOLERANCE
) -> tuple[FormResult, list[Mismatch]]:
    """Compare one answer with what the original model answered. Pure.

    Args:
        form: in which form the rows were asked.
        expected: the golden answers: what stands under ``predictions``. Null also stands for NaN and infinities.
        answer: the endpoint's.
        relative_tolerance: see `RELATIVE_TOLERANCE`.

    Returns:
        The result, and every value that differs.
    """
    rows = len(expected) if isinstance(expected, list) else 1
    predictions, problem = _predictions(answer)
    if problem:
        return FormResult(form=form, rows=rows, mismatch_count=0, problem=problem), []
    found = [
        Mismatch(form=form, row=_row_of(path), field=_field_of(path), expected=_brief(one), found=_brief(other))
        for path, one, other in _different(expected, predictions, relative_tolerance, ())
    ]
    return FormResult(form=form, rows=rows, mismatch_count=len(found)), found


def _predictions(answer: Answer) -> tuple[Any, str]:
    """The ``predictions`` of an answer, or why there are none."""
    if answer.status != 200:
        text = " ".join(answer.body.decode("utf-8", "replace").split())
        return None, f"status {answer.status}: {text[:300]}"
    if answer.content_type.partition(";")[0].strip().lower() != JSON:
        return None, f"the answer has content type {answer.content_type!r}, expected {JSON}"
    try:
        document = json.loads(answer.body)
    except ValueError as error:
        return None, f"the answer is not JSON: {error}"
    if not isinstance(document, dict) or "predictions" not in document:
        return None, "the answer has no 'predictions'"
    return document["predictions"], ""


def _different(expected: Any, found: Any, tolerance: float, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield (*path, "length"), len(expected), len(found)
        for index, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from _different(one, other, tolerance, (*path, index))
    elif isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            if key in expected and key in found:
                yield from _different(expected[key], found[key], tolerance, (*path, key))
            else:
                yield (*path, key), expected.get(key, "nothing"), found.get(key, "nothing")
    elif not _same(expected, found, tolerance):
        yield path, expected, found


def _same(expected: Any, found: Any, tolerance: float) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if expected is None:
        return found is None or (isinstance(found, float) and not math.isfinite(found))
    if isinstance(expected, float) and isinstance(found, int | float):
        return math.isclose(expected, found, rel_tol=tolerance, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(expected == found)


def _brief(value: Any) -> Any:
    """A value as a report keeps it: NaN and infinities, which JSON has not, and long ones as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return value if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _row_of(path: Path) -> int | None:
    return path[0] if path and isinstance(path[0], int) else None


def _field_of(path: Path) -> str:
    rest = path[1:] if _row_of(path) is not None else path
    return ".".join(str(step) for step in rest)
