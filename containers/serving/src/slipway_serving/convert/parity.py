"""The parity gate: a compiled model is used only if it answers every probe as the original does."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slipway_serving.message import CSV, JSON, Request, RequestError, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from slipway_serving.convert.probes import Probes, Row
    from slipway_serving.engines import Engine
    from slipway_serving.engines.fast import FastEngine

RELATIVE_TOLERANCE = 1e-9
ABSOLUTE_TOLERANCE = 1e-12
ROWS_AT_ONCE = 100
ROWS_IN_COMPANY = 50
ALONE_TOO = 10
MIN_COVERED = 0.9


@dataclass
class Parity:
    """What the comparison found.

    Parameters
    ----------
    rows
        Rows that both engines answered.
    refused
        Requests that both refused, or that the original refused and the compiled model would hand over.
    handed_over
        Requests that the compiled model leaves to the original.
    largest_difference
        Largest relative difference between two numbers.
    mismatch
        The first difference beyond the tolerance; empty when there is none.
    """

    rows: int = 0
    refused: int = 0
    handed_over: int = 0
    largest_difference: float = 0.0
    mismatch: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing differed and something was compared."""
        return not self.mismatch and self.rows > 0

    def check(self, expected: Any, found: Any, subject: str) -> None:
        """Compare two JSON values and note the first difference beyond the tolerance."""
        difference = _difference(expected, found)
        if math.isfinite(difference):
            self.largest_difference = max(self.largest_difference, difference)
        if difference > RELATIVE_TOLERANCE:
            self.mismatch = _difference_in_words(expected, found, subject)


def compare(original: Engine, compiled: FastEngine, probes: Probes, *, alone: bool = False) -> Parity:
    """Send the same requests to both engines.

    Parameters
    ----------
    original
        The model as it was saved.
    compiled
        The candidate.
    probes
        Rows to send, as JSON and as CSV.
    alone
        The original will not be in the image: what the compiled model hands over is compared too.
    """
    parity = Parity()
    answer = compiled.answer if alone else compiled.answer_covered
    for start in range(0, len(probes.ordinary), ROWS_AT_ONCE):
        rows = probes.ordinary[start : start + ROWS_AT_ONCE]
        _compare_one(original, answer, json_request(probes.names, rows), rows, parity)
    handed_over = parity.handed_over
    for row in [*probes.ordinary[:10], *probes.alone]:
        if parity.mismatch:
            return parity
        _compare_one(original, answer, json_request(probes.names, [row]), [row], parity)
    _compare_in_company(original, answer, probes, parity)
    if parity.mismatch:
        return parity
    complete = [row for row in probes.ordinary if all(value is not None for value in row)][:ROWS_AT_ONCE]
    _compare_one(original, answer, csv_request(probes.names, complete), complete, parity)
    requests = math.ceil(len(probes.ordinary) / ROWS_AT_ONCE)
    if not parity.mismatch and handed_over > (1 - MIN_COVERED) * requests:
        parity.mismatch = f"{handed_over} of {requests} ordinary requests are not covered"
    return parity


def json_request(names: list[str], rows: list[Row]) -> Request:
    """Return rows as ``dataframe_split``."""
    return Request(json.dumps({"dataframe_split": {"columns": names, "data": rows}}).encode(), JSON)


def csv_request(names: list[str], rows: list[Row]) -> Request:
    """Return rows as CSV; texts that would need quotes are not sent."""
    lines = [",".join(map(_csv_word, row)) for row in rows]
    return Request("\n".join([",".join(names), *lines, ""]).encode(), CSV)


def _csv_word(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _outcome(answer: Callable[[Request], Response | None], request: Request) -> Any:
    """Return predictions, a status code when refused, or ``None`` when handed over."""
    try:
        response = answer(request)
    except RequestError as error:
        return error.status
    return None if response is None else json.loads(response.body)["predictions"]


def _compare_one(
    original: Engine, answer: Callable[[Request], Response | None], request: Request, rows: list[Row], parity: Parity
) -> None:
    _note(_outcome(original.answer, request), _outcome(answer, request), rows, parity)


def _compare_in_company(
    original: Engine, answer: Callable[[Request], Response | None], probes: Probes, parity: Parity
) -> None:
    """Ask the original about many rows at once, which saves most of its time, and the compiled model about each alone.

    What the original says of a row alone is what counts: it is asked so when the answers differ, and in any case for
    some of the rows. Where their answers depend on the company, it is asked about each row alone.
    """
    for start in range(0, len(probes.in_company), ROWS_IN_COMPANY):
        rows = probes.in_company[start : start + ROWS_IN_COMPANY]
        requests = [json_request(probes.names, [row]) for row in rows]
        outcomes = _ask_together(original, probes.names, rows)
        for at in range(0, len(rows), ALONE_TOO):
            alone = _outcome(original.answer, requests[at])
            if not _is_same(alone, outcomes[at]):
                outcomes = [_outcome(original.answer, request) for request in requests]
                break
            outcomes[at] = alone
        for row, request, expected in zip(rows, requests, outcomes, strict=True):
            found = _outcome(answer, request)
            if found is not None and not _is_same(expected, found):
                expected = _outcome(original.answer, request)
            _note(expected, found, [row], parity)
            if parity.mismatch:
                return


def _ask_together(original: Engine, names: list[str], rows: list[Row]) -> list[Any]:
    """Return the outcome of each row, of fewer rows at once where one fails the others or is left out."""
    outcome = _outcome(original.answer, json_request(names, rows))
    if len(rows) == 1:
        return [outcome]
    if isinstance(outcome, list) and len(outcome) == len(rows):
        return [[answer] for answer in outcome]
    half = len(rows) // 2
    return [*_ask_together(original, names, rows[:half]), *_ask_together(original, names, rows[half:])]


def _is_same(expected: Any, found: Any) -> bool:
    """Whether two outcomes are the same refusal, or answers within the tolerance."""
    return _difference(expected, found) <= RELATIVE_TOLERANCE


def _note(expected: Any, found: Any, rows: list[Row], parity: Parity) -> None:
    if found is None:
        parity.handed_over += 1
    elif isinstance(expected, int) or isinstance(found, int):
        parity.refused += 1
        if expected != found:
            parity.mismatch = _difference_in_words(expected, found, json.dumps(rows))
    else:
        parity.rows += len(rows)
        parity.check(expected, found, json.dumps(rows))


def _difference_in_words(expected: Any, found: Any, subject: str) -> str:
    return f"expected {str(expected)[:200]}, found {str(found)[:200]} for {subject[:1500]}"


def _difference(expected: Any, found: Any) -> float:
    """Return the largest relative difference of two JSON values; infinite when they are not of one shape."""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return max((_difference(e, f) for e, f in zip(expected, found, strict=True)), default=0.0)
    if isinstance(expected, float) and isinstance(found, (float, int)) and not isinstance(found, bool):
        return _number_difference(expected, float(found))
    return 0.0 if expected == found and type(expected) is type(found) else math.inf


def _number_difference(expected: float, found: float) -> float:
    if expected == found or (math.isnan(expected) and math.isnan(found)):
        return 0.0
    if not (math.isfinite(expected) and math.isfinite(found)):
        return math.inf
    distance = abs(expected - found)
    return 0.0 if distance <= ABSOLUTE_TOLERANCE else distance / max(abs(expected), abs(found))
