"""Which requests are scored in the event loop: only those that hold it up for no more than about a millisecond."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import models
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from slipway_serving.engines.build import load_engine
from slipway_serving.engines.fast import FastEngine
from slipway_serving.engines.samples import sample_batches
from slipway_serving.forms.batch import Batch, Layout, NotCoveredError
from slipway_serving.forms.json_forms import JsonForms
from slipway_serving.message import JSON, JSON_LINES, Request


class Scorer:
    """Takes a set time for each call and each row, and refuses the text that no model knows."""

    def __init__(self, *, seconds: float = 0.0, seconds_per_row: float = 0.0, skips: str = "never") -> None:
        self._seconds, self._seconds_per_row, self._skips = seconds, seconds_per_row, skips

    def score(self, batch: Batch) -> Any:
        texts = batch.texts.get("city", ["Bern"] * batch.size)
        if "" in texts and self._skips == "never":
            raise NotCoveredError("an unknown category")
        kept = [text for text in texts if text != self._skips]
        if kept:
            time.sleep(self._seconds + len(kept) * self._seconds_per_row)
        return np.zeros(len(kept))


def engine_of(scorer: Scorer, columns: list[tuple[str, str]], sample: list[dict[str, Any]]) -> FastEngine:
    reader = JsonForms(Layout(columns))
    names = [name for name, _ in columns]
    engine = FastEngine("native", scorer, {JSON: reader}, names, lambda: load_engine(Path("/nonexistent")))
    document = json.dumps({"dataframe_records": sample}).encode()
    batches = [reader.read(document)] if sample else []
    texts = {name: [""] for name, kind in columns if kind == "string"}
    engine.calibrate([*batches, Batch(1, np.zeros((1, len(columns) - len(texts))), texts)])
    return engine


def request_of(rows: list[dict[str, Any]]) -> Request:
    return Request(json.dumps({"dataframe_records": rows}).encode())


NUMBER = [("a", "double")]
TEXT = [("city", "string")]


def test_small_requests_to_a_fast_model_are_answered_at_once():
    engine = engine_of(Scorer(), NUMBER, [])
    assert engine.answer_at_once(request_of([{"a": 1.0}])) is not None
    assert engine.answer_at_once(request_of([{"a": 1.0}] * 500)) is not None
    assert engine.answer_at_once(request_of([{"a": 1.0}] * 5000)) is None, "a body of more than 8 KB"


def test_the_rows_that_are_scored_at_once_are_as_many_as_the_time_allows():
    engine = engine_of(Scorer(seconds_per_row=50e-6), NUMBER, [])
    assert engine.answer_at_once(request_of([{"a": 1.0}])) is not None
    many = request_of([{"a": 1.0}] * 200)
    assert engine.answer_at_once(many) is None
    assert json.loads(engine.answer(many).body) == {"predictions": [0.0] * 200}
    lines = Request(b'{"a":1}\n' * 200, JSON_LINES)
    assert engine.answer_at_once(lines) is None
    assert json.loads(engine.answer(lines).body) == {"predictions": [0.0] * 200}


def test_a_refusal_is_no_measurement():
    slow = engine_of(Scorer(seconds=0.003), TEXT, [])
    assert slow.answer_at_once(request_of([{"city": "Bern"}])) is None
    slow = engine_of(Scorer(seconds=0.003), TEXT, [{"city": "Bern"}])
    assert slow.answer_at_once(request_of([{"city": "Bern"}])) is None
    fast = engine_of(Scorer(), TEXT, [{"city": "Bern"}])
    assert fast.answer_at_once(request_of([{"city": "Bern"}])) is not None


def test_a_row_that_is_skipped_is_no_measurement():
    slow = engine_of(Scorer(seconds=0.003, skips=""), TEXT, [])
    assert slow.answer_at_once(request_of([{"city": "Bern"}])) is None


def test_explanations_are_measured_with_the_score(tmp_path: Path):
    rows = np.random.default_rng(1).normal(size=(400, 4))
    model = RandomForestRegressor(40, max_leaf_nodes=32, random_state=0).fit(rows, rows.sum(axis=1))
    folder = models.save_fitted(tmp_path / "model", model, rows)
    models.compile_model(folder)
    request = Request(json.dumps({"instances": rows[:100].round(2).tolist()}).encode())
    assert load_engine(folder).answer_at_once(request) is not None
    assert load_engine(folder, "contributions").answer_at_once(request) is None


def test_the_saved_example_is_measured_where_a_model_refuses_anything_else(tmp_path: Path):
    import pandas as pd

    frame = pd.DataFrame({"city": ["Bern", "Oslo", "Rome"] * 20})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(frame, np.arange(60.0))
    folder = models.save_fitted(tmp_path / "model", model, frame)
    assert models.compile_model(folder)["engine"] == "native"
    request = request_of([{"city": "Oslo"}])
    assert load_engine(folder).answer_at_once(request) is not None
    for example in folder.glob("*example.json"):
        example.unlink()
    assert load_engine(folder).answer_at_once(request) is None


def test_golden_rows_come_before_the_example(tmp_path: Path):
    reader = JsonForms(Layout(NUMBER))
    split = {"columns": ["a"], "data": [[1.5], [2.5]]}
    (tmp_path / "golden.json").write_text(json.dumps({"json": {"dataframe_split": split}}))
    (tmp_path / "serving_input_example.json").write_text('{"dataframe_split": {"columns": ["a"], "data": [[3.5]]}}')
    found = [batch.numbers[:, 0].tolist() for batch in sample_batches(tmp_path, reader)]
    assert found == [[1.5, 2.5], [3.5]]
    (tmp_path / "golden.json").write_text("{}")
    (tmp_path / "serving_input_example.json").write_text("no JSON")
    assert list(sample_batches(tmp_path, reader)) == []
