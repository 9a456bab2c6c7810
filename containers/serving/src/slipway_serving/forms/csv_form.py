"""CSV with a header line, as MLflow takes it.

Covered is CSV without quotes, with numbers spelled as in JSON and without the words that pandas reads as null. Numbers
are read correctly rounded; pandas' own reader may be off by one in the last binary place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from slipway_serving.forms.batch import FLOATS, Batch, Layout, NotCoveredError, columns_to_batch
from slipway_serving.message import RequestError

# pandas.read_csv's documented default ``na_values``.
_NULL_WORDS = "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null"
NULL_SPELLINGS = frozenset(_NULL_WORDS.split("|"))


class CsvForm:
    """Reads CSV for one signature of named columns.

    Parameters
    ----------
    layout
        The signature's columns.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._header = ",".join(layout.names).encode()
        self._only_floats = all(kind in FLOATS for _, kind in layout.columns)

    def read(self, body: bytes) -> Batch:
        """Read one request.

        Raises
        ------
        RequestError
            A column of the signature is missing.
        NotCoveredError
            pandas' own reader is to decide.
        """
        header, newline, rest = body.partition(b"\n")
        rest = rest.removesuffix(b"\n")
        if not newline or not rest or b'"' in body:
            raise NotCoveredError("no rows, or quotes")
        if b"\r" in body:
            header, rest = _without_returns(header, rest)
        if self._only_floats and header == self._header:
            return self._layout.finish(self._all_numbers(rest), {})
        return self._mixed(header, rest)

    def _all_numbers(self, rest: bytes) -> np.ndarray:
        """Parse lines of numbers by the JSON parser, the fastest at hand that rounds correctly."""
        if b"[" in rest or b"{" in rest:
            raise NotCoveredError("not numbers")
        try:
            rows = orjson.loads(b"[[" + rest.replace(b"\n", b"],[") + b"]]")
            matrix = np.array(rows, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise NotCoveredError(str(error)) from None
        if matrix.ndim != 2 or matrix.shape[1] != len(self._layout.names) or _holds_words(rest):
            raise NotCoveredError("rows of different lengths, or words among the numbers")
        return matrix

    def _mixed(self, header: bytes, rest: bytes) -> Batch:
        try:
            names = header.decode().split(",")
            rows = [line.split(",") for line in rest.decode().split("\n")]
        except UnicodeDecodeError as error:
            raise RequestError(f"Ensure that input is a valid UTF-8 encoded string. Error: {error}") from None
        if len(set(names)) != len(names) or set(map(len, rows)) != {len(names)} or len(names) < 2:
            raise NotCoveredError("rows of different lengths")
        if not self._layout.name_set <= set(names):
            raise NotCoveredError("missing columns")
        at = [names.index(name) for name in self._layout.names]
        by_column = list(zip(*rows, strict=True))
        return columns_to_batch(self._layout, lambda index, _: self._column(index, by_column[at[index]]), len(rows))

    def _column(self, index: int, words: tuple[str, ...]) -> list[Any]:
        kind = self._layout.columns[index][1]
        if kind == "string":
            if not NULL_SPELLINGS.isdisjoint(words):
                raise NotCoveredError("a null among texts")
            return list(words)
        if kind == "boolean":
            raise NotCoveredError("booleans in CSV")
        text = ",".join(words)
        if "[" in text or "{" in text:
            raise NotCoveredError("not numbers")
        try:
            values: list[Any] = orjson.loads(f"[{text}]")
        except ValueError as error:
            raise NotCoveredError(str(error)) from None
        wanted = {int, float} if kind in FLOATS else {int}
        if not set(map(type, values)) <= wanted:
            raise NotCoveredError("numbers of another kind")
        return values


def _holds_words(rest: bytes) -> bool:
    """Whether ``null``, ``true`` or ``false`` stand among the numbers, which pandas reads in its own way."""
    return b"u" in rest or b"a" in rest


def _without_returns(header: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """Turn line ends ``\\r\\n`` into ``\\n``; a lone ``\\r`` is not covered."""
    header, rest = header.removesuffix(b"\r"), rest.removesuffix(b"\r").replace(b"\r\n", b"\n")
    if b"\r" in header or b"\r" in rest:
        raise NotCoveredError("lone carriage returns")
    return header, rest
