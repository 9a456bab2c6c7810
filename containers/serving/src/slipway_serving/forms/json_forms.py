"""MLflow's JSON forms: ``dataframe_split``, ``dataframe_records``, ``instances`` and ``inputs``."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from slipway_serving.forms.batch import FLOATS, Batch, Layout, NotCoveredError, columns_to_batch
from slipway_serving.message import RequestError

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_IGNORED_WHEN_EMPTY = "params"


def parse_document(body: bytes) -> Any:
    """Parse JSON as MLflow does.

    Raises
    ------
    RequestError
        The body is not JSON even to Python's lenient parser.
    NotCoveredError
        Only the lenient parser takes it, and not for ``NaN`` and infinities: UTF-16, halves of surrogate pairs.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"Ensure that input is a valid JSON formatted string. Error: {error}") from None
    if b"\\" in body or not (b"NaN" in body or b"Infinity" in body):
        raise NotCoveredError("JSON that only Python's own parser takes")
    return document


def pick_form(document: Any) -> tuple[str, Any]:
    """Return the name and content of the one form that a document holds.

    Raises
    ------
    RequestError
        The document is not an object, or holds none or several of the forms.
    NotCoveredError
        It holds more than the form.
    """
    if not isinstance(document, dict):
        raise RequestError(_one_of_forms(f"Received a JSON {type(document).__name__}"))
    if len(document) == 1:
        [(form, content)] = document.items()
        if form in FORMS:
            return form, content
    rest = document.keys() - FORMS
    if rest - {_IGNORED_WHEN_EMPTY} or document.get(_IGNORED_WHEN_EMPTY):
        raise NotCoveredError("more than the input in one document")
    found = [form for form in FORMS if form in document]
    if len(found) != 1:
        raise RequestError(_one_of_forms(f"Received dictionary with input fields: {list(document)}"))
    return found[0], document[found[0]]


def _one_of_forms(found: str) -> str:
    return f"The input must be a JSON dictionary with exactly one of the input fields {list(FORMS)}. {found}"


class JsonForms:
    """Reads all JSON forms for one signature of named columns.

    Parameters
    ----------
    layout
        The signature's columns.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._only_floats = all(kind in FLOATS for _, kind in layout.columns)
        self._row_of = itemgetter(*layout.names) if len(layout.names) > 1 else None

    def read(self, body: bytes) -> Batch:
        """Read one request.

        Raises
        ------
        RequestError
            MLflow would refuse it too.
        NotCoveredError
            MLflow's own parser is to decide.
        """
        form, content = pick_form(parse_document(body))
        if form == "dataframe_split":
            return self._split(content, body)
        if form in {"inputs", "instances"} and b"\\u0000" in body:
            raise NotCoveredError("texts with NUL, which numpy cuts off")
        if form == "inputs" and isinstance(content, dict):
            return self._columns(content)
        return self._records(content, form)

    def _split(self, content: Any, body: bytes) -> Batch:
        if not isinstance(content, dict) or not content.keys() <= {"columns", "data", "index"}:
            raise NotCoveredError("an odd dataframe_split")
        names, rows = content.get("columns"), content.get("data")
        if not isinstance(names, list) or not isinstance(rows, list) or not rows:
            raise NotCoveredError("no columns or no data")
        if "index" in content:
            _check_index(content["index"], len(rows))
        if self._only_floats and names == self._layout.names:
            expected_quotes = 2 * (1 + len(content) + len(names))
            if body.count(b'"') == expected_quotes:
                return self._layout.finish(_matrix(rows, len(names)), {})
        return self._split_any(names, rows)

    def _split_any(self, names: list[Any], rows: list[Any]) -> Batch:
        """Read rows whose columns come in any order, with extra ones, or hold texts."""
        if set(map(type, rows)) != {list} or set(map(len, rows)) != {len(names)}:
            raise NotCoveredError("rows of different lengths")
        if set(map(type, names)) != {str} or len(set(names)) != len(names):
            raise NotCoveredError("odd column names")
        self._layout.check_present(names)
        at = [names.index(name) for name in self._layout.names]
        by_column = list(zip(*rows, strict=True))
        return columns_to_batch(self._layout, lambda index, _: list(by_column[at[index]]), len(rows))

    def _records(self, rows: Any, form: str) -> Batch:
        if not isinstance(rows, list) or not rows or set(map(type, rows)) != {dict}:
            raise NotCoveredError("not a list of records")
        keys = rows[0].keys()
        if any(row.keys() != keys for row in rows):
            raise NotCoveredError("records of different shapes")
        self._layout.check_present(keys)
        if form != "dataframe_records" and len(keys) != len(self._layout.names):
            raise NotCoveredError("extra values, which MLflow converts one by one")
        if self._row_of is None:
            by_column: list[Any] = [[row[self._layout.names[0]] for row in rows]]
        else:
            by_column = list(zip(*map(self._row_of, rows), strict=True))
        return columns_to_batch(self._layout, lambda index, _: list(by_column[index]), len(rows))

    def _columns(self, content: dict[str, Any]) -> Batch:
        """Read ``inputs`` as name → values."""
        if content.keys() != self._layout.name_set:
            raise NotCoveredError("missing or extra columns")
        lists = content.values()
        if set(map(type, lists)) != {list} or len(set(map(len, lists))) != 1:
            raise NotCoveredError("columns that are not lists of one length")
        size = len(next(iter(lists)))
        if size == 0:
            raise NotCoveredError("no rows")
        return columns_to_batch(self._layout, lambda _, name: content[name], size)


def _check_index(index: Any, size: int) -> None:
    if not isinstance(index, list) or len(index) != size or not set(map(type, index)) <= {int, str}:
        raise NotCoveredError("an odd index")


def _matrix(rows: list[Any], width: int) -> np.ndarray:
    """Turn lists of numbers and nulls into a matrix."""
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise NotCoveredError(str(error)) from None
    if matrix.ndim != 2 or matrix.shape[1] != width:
        raise NotCoveredError("rows of different lengths")
    return matrix


class TensorForms:
    """Reads the JSON forms for a signature of one unnamed tensor of shape ``(-1, width)``.

    Parameters
    ----------
    width
        Number of columns.
    dtype
        ``float64`` or ``float32``.
    """

    def __init__(self, width: int, dtype: str) -> None:
        self._width = width
        self._dtype = np.dtype(dtype)

    def read(self, body: bytes) -> Batch:
        """Read one request; raises as ``JsonForms.read`` does."""
        form, content = pick_form(parse_document(body))
        known_quotes = 2
        if form == "dataframe_split":
            if not isinstance(content, dict) or content.keys() != {"columns", "data"}:
                raise NotCoveredError("an odd dataframe_split")
            names, content = content["columns"], content["data"]
            if not isinstance(names, list) or len(names) != self._width or not set(map(type, names)) <= {int, str}:
                raise NotCoveredError("odd column names")
            if len(set(map(str, names))) != self._width:
                raise NotCoveredError("another number of columns")
            known_quotes += 4 + 2 * sum(isinstance(name, str) for name in names)
        elif form == "dataframe_records":
            raise NotCoveredError("records for a tensor")
        if body.count(b'"') != known_quotes or not isinstance(content, list) or not content:
            raise NotCoveredError("not a list of lists of numbers")
        matrix = _matrix(content, self._width)
        return Batch(len(matrix), matrix.astype(self._dtype).astype(np.float64), {})
