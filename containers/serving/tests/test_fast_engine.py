"""What the compiled engines do with what they cannot do: they hand it over, and never fail themselves."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB

from slipway_serving import jsonlines
from slipway_serving.engines.fast import FastEngine, encode
from slipway_serving.forms.batch import Batch, Layout, NotCoveredError
from slipway_serving.forms.json_forms import JsonForms, TensorForms
from slipway_serving.message import JSON, Request, RequestError, Response
from slipway_serving.program.operations.decisions import forest  # noqa: F401 - registers it
from slipway_serving.program.program import Program


class Original:
    """Stands for MLflow's own code."""

    name, fallbacks = "original", 0

    def answer(self, request: Request) -> Response:
        return Response(200, b'{"predictions": ["of the original"]}')

    def answer_at_once(self, request: Request) -> None:
        return None


def engine_of(scorer: Any) -> FastEngine:
    return FastEngine("native", scorer, {JSON: JsonForms(Layout([("a", "double")]))}, ["a"], Original)


REQUEST = Request(b'{"dataframe_records": [{"a": 1.0}]}')


def test_what_fails_is_handed_over_and_logged(caplog: pytest.LogCaptureFixture):
    program = Program({"steps": [{"op": "take", "in": ["numbers"], "out": "r0", "columns": [3]}], "output": "r0"})
    engine = engine_of(program)
    engine.calibrate([Batch(1, np.zeros((1, 1)), {})])
    with caplog.at_level(logging.ERROR):
        assert engine.answer_covered(REQUEST) is None
    assert "IndexError" in caplog.text
    assert json.loads(engine.answer(REQUEST).body) == {"predictions": ["of the original"]}
    assert engine.fallbacks == 1


def test_a_refusal_stays_a_refusal():
    with pytest.raises(RequestError, match="missing inputs"):
        engine_of(Program({"steps": [], "output": "numbers"})).answer(Request(b'{"dataframe_records": [{"b": 1.0}]}'))


def test_arrays_of_any_layout_are_written():
    rows = np.arange(6.0).reshape(2, 3)
    for array in (rows, np.asfortranarray(rows), rows.T, rows[:, ::2], np.asfortranarray(rows.astype(np.int64))):
        assert json.loads(encode(array)) == {"predictions": array.tolist()}


def test_a_model_whose_shares_come_column_by_column_is_fed_with_arrays(tmp_path: Path):
    import pandas as pd

    rows = pd.DataFrame(np.random.default_rng(2).normal(size=(80, 3)), columns=["a", "b", "c"])
    model = GaussianNB().fit(rows, rows["a"] > 0)
    folder = models.save_fitted(tmp_path / "model", model, rows, pyfunc_predict_fn="predict_proba")
    record = models.compile_model(folder)
    assert record["engine"] == "numpy", record["tried"]


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("depth", [1, 900, 989, 1000, 1010, 1020])
def test_deeply_nested_names_are_not_covered(depth: int):
    body = b'{"dataframe_split": {"columns": [%s, "b"], "data": [[1, 2]]}}' % nested(depth)
    with pytest.raises(NotCoveredError):
        TensorForms(2, "float64").read(body)


def test_names_of_a_tensor_s_columns_do_not_matter():
    for names in (["x", "y"], [0, 1], ["x", 1]):
        body = json.dumps({"dataframe_split": {"columns": names, "data": [[1, 2]]}}).encode()
        assert TensorForms(2, "float64").read(body).numbers.tolist() == [[1.0, 2.0]]


def test_deeply_nested_lines_are_refused_whatever_their_depth():
    refused = 0
    for depth in (*range(900, 1010), 5000, 100_000):
        try:
            jsonlines.to_dataframe_json(nested(depth), None)
        except RequestError:
            refused += 1
    assert refused >= 2
