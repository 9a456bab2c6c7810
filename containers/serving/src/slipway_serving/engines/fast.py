"""The engine for models that were compiled at build time: arrays in, arrays out, no pandas.

A request that the fast path does not cover is answered by the fallback, MLflow's own code, which is loaded when the
first such request comes.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson

from slipway_serving import jsonlines
from slipway_serving.forms.batch import Batch, NotCoveredError
from slipway_serving.message import CSV, JSON, JSON_LINES, Request, RequestError, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from slipway_serving.engines import Engine

_logger = logging.getLogger(__name__)

INLINE_SECONDS = 0.001
_INLINE_BYTES = 8192


class Reader(Protocol):
    """Reads a request body into a batch."""

    def read(self, body: bytes) -> Batch:
        """Raise ``NotCoveredError`` for what MLflow's own parser is to decide."""
        ...


class Scorer(Protocol):
    """Scores a batch."""

    def score(self, batch: Batch) -> Any:
        """Return an array or a list; raise ``NotCoveredError`` for rows that are left to the original."""
        ...


class FastEngine:
    """Reads, scores and writes without MLflow where that gives the same answer.

    Parameters
    ----------
    name
        ``native`` or ``numpy``.
    scorer
        The compiled model.
    readers
        Reader by media type.
    column_names
        Names for the arrays of JSON lines.
    make_fallback
        Makes the engine that answers what is not covered.
    explain
        Scores a batch and explains it; ``None`` when explanations are off.
    """

    def __init__(
        self,
        name: str,
        scorer: Scorer,
        readers: dict[str, Reader],
        column_names: list[str] | None,
        make_fallback: Callable[[], Engine],
        explain: Callable[[Batch], tuple[Any, dict[str, Any]]] | None = None,
    ) -> None:
        self.name = name
        self.fallbacks = 0
        self._scorer = scorer
        self._readers = readers
        self._column_names = column_names
        self._make_fallback = make_fallback
        self._explain = explain
        self._fallback: Engine | None = None
        self._fallback_lock = threading.Lock()
        self._inline_bytes = self._inline_rows = 0

    def answer_at_once(self, request: Request) -> Response | None:
        """Score a small request that the fast path covers, if ``calibrate`` found that it does not take long."""
        return self.answer_covered(request, self._inline_rows) if len(request.body) <= self._inline_bytes else None

    def calibrate(self, samples: Iterable[Batch]) -> int:
        """Measure what a request costs, explanations included, and decide how many rows the event loop may score.

        Parameters
        ----------
        samples
            Batches to measure on. The first row that the model answers is taken; a refusal takes no time and says
            nothing. If there is none, nothing is scored in the event loop.

        Returns
        -------
        int
            The most rows that take less than ``INLINE_SECONDS``, to a factor of two; never more than fit into
            ``_INLINE_BYTES``.
        """
        self._inline_rows = 0
        row = next((row for batch in samples for row in _rows(batch) if self._answers(row)), None)
        if row is not None:
            bytes_per_row = 2 * max(1, row.numbers.shape[1] + len(row.texts))  # a digit and a comma for each value
            most, rows = _INLINE_BYTES // bytes_per_row, 1
            while self._inline_rows < most and self._best_seconds(row, rows) < INLINE_SECONDS:
                self._inline_rows, rows = rows, min(2 * rows, most)
        self._inline_bytes = _INLINE_BYTES if self._inline_rows else 0
        return self._inline_rows

    def _answers(self, row: Batch) -> bool:
        """Whether the compiled model answers a row itself, and does not leave it out."""
        try:
            return len(self._scorer.score(row)) == row.size
        except NotCoveredError:
            return False
        except Exception:
            _logger.exception("the compiled model fails at a sample row")
            return False

    def _best_seconds(self, row: Batch, count: int) -> float:
        batch = Batch(
            count, np.tile(row.numbers, (count, 1)), {name: [*text] * count for name, text in row.texts.items()}
        )
        times = []
        for _ in range(5):
            started = time.perf_counter()
            self._score(batch)
            times.append(time.perf_counter() - started)
        return min(times)

    def answer(self, request: Request) -> Response:
        """Score one request."""
        response = self.answer_covered(request)
        return self._fall_back(request) if response is None else response

    def answer_covered(self, request: Request, most_rows: float = math.inf) -> Response | None:
        """Score a request of up to ``most_rows`` that the fast path covers; return ``None`` for any other.

        What fails in any other way than by refusing the request is not covered either: MLflow's own code judges it.
        """
        body, media = request.body, request.content_type
        if media != JSON:
            media = _plain_media_type(media)
        try:
            if media == JSON_LINES:
                if body.count(b"\n") > most_rows:
                    return None
                body, media = jsonlines.to_dataframe_json(body, self._column_names), JSON
            reader = self._readers.get(media)
            if reader is None:
                return None
            batch = reader.read(body)
            if batch.size > most_rows:
                return None
            answer = self._score(batch, explain=request.explain)
        except NotCoveredError:
            return None
        except RequestError:
            raise
        except Exception:
            _logger.exception("the compiled model failed; MLflow's own code answers")
            return None
        if not request.accept or request.accept == JSON:
            return Response(200, answer)
        return jsonlines.answer_as_asked(answer, request.accept)

    def _score(self, batch: Batch, *, explain: bool = True) -> bytes:
        if self._explain is None or not explain:
            return encode(self._scorer.score(batch))
        return self._explained(batch)

    def _explained(self, batch: Batch) -> bytes:
        """Return the answer with the additional key ``contributions``."""
        predictions, contributions = self._explain(batch)  # type: ignore[misc]
        return encode(predictions)[:-1] + b',"contributions":' + json.dumps(contributions).encode() + b"}"

    def _fall_back(self, request: Request) -> Response:
        self.fallbacks += 1
        with self._fallback_lock:
            if self._fallback is None:
                _logger.info("a request needs MLflow's own code, which is loaded now")
                self._fallback = self._make_fallback()
        return self._fallback.answer(request)


def _rows(batch: Batch) -> Iterator[Batch]:
    """Return the rows of a batch as batches of their own."""
    for at in range(batch.size):
        yield Batch(1, batch.numbers[at : at + 1], {name: [texts[at]] for name, texts in batch.texts.items()})


def _plain_media_type(content_type: str) -> str:
    """Return the media type when its only parameter is UTF-8's name, else nothing, so that MLflow judges it."""
    media, semicolon, parameters = content_type.partition(";")
    media = media.strip()
    if semicolon and parameters.replace(" ", "").lower() != "charset=utf-8":
        return ""
    return media if media in {JSON, CSV} else JSON_LINES if media.lower() == JSON_LINES else ""


def encode(predictions: Any) -> bytes:
    """Write predictions as MLflow does: ``{"predictions": [...]}``; not-a-number and infinities by Python's names."""
    if isinstance(predictions, np.ndarray):
        if predictions.dtype.kind == "f":
            if not np.isfinite(predictions).all():
                return json.dumps({"predictions": predictions.tolist()}).encode()
            if predictions.dtype != np.float64:
                predictions = predictions.astype(np.float64)
        elif predictions.dtype.kind not in "iub":
            predictions = predictions.tolist()
    if isinstance(predictions, np.ndarray):
        predictions = np.ascontiguousarray(predictions)  # orjson takes no other
    return orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)
