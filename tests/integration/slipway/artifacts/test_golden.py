"""Golden rows of real models, against MLflow's own scoring server."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types.schema import ColSpec, Schema
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from slipway.artifacts.golden import GoldenRows, make_golden_rows
from slipway.artifacts.sandbox import Sandbox
from slipway.errors import SandboxError

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

REQUIREMENTS = ["mlflow-skinny", "pandas", "scikit-learn"]


def table() -> tuple[pd.DataFrame, pd.Series]:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "distance": random.normal(800, 300, 300),
            "stops": random.integers(0, 3, 300),
            "carrier": random.choice(["AA", "UA", "DL"], 300),
            "late": random.choice([True, False], 300),
        }
    )
    return frame, (frame.distance / 1000 + frame.stops + (frame.carrier == "AA")).rename("delay")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame, target = table()
    columns = make_column_transformer((StandardScaler(), ["distance", "stops"]), (OneHotEncoder(), ["carrier"]))
    model = make_pipeline(columns, LinearRegression()).fit(frame, target)
    path = tmp_path_factory.mktemp("linear") / "model"
    signature = infer_signature(frame, model.predict(frame))
    mlflow.sklearn.save_model(
        model, path, signature=signature, input_example=frame.head(3), pip_requirements=REQUIREMENTS
    )
    return path


@pytest.fixture
def python_model(tmp_path: Path) -> Callable[..., Path]:
    def save(predict: Callable[..., Any], **kwargs: Any) -> Path:
        path = tmp_path / "model"
        model = type("Model", (mlflow.pyfunc.PythonModel,), {"predict": lambda self, context, data: predict(data)})
        mlflow.pyfunc.save_model(path, python_model=model(), pip_requirements=REQUIREMENTS, **kwargs)
        return path

    return save


def served(path: Path, content_type: str, body: bytes) -> Any:
    """The answer of MLflow's scoring server, asked in this process."""
    model = mlflow.pyfunc.load_model(str(path))
    response = invocations(body.decode(), content_type, model, model.metadata.get_input_schema())
    assert response.status == 200, response.response
    return json.loads(response.response)["predictions"]


def check(golden: GoldenRows, path: Path) -> None:
    """Everything that is asked is answered as the scoring server does."""
    for content_type, body in golden.payloads.items():
        found, expected = served(path, content_type, body), golden.expected(content_type)
        assert json.loads(json.dumps(found), parse_constant=lambda _: None) == expected
    assert GoldenRows.from_json(golden.to_json()) == golden


def test_a_pipeline_with_numbers_categories_and_flags(sandbox: Sandbox, linear: Path) -> None:
    golden = make_golden_rows(sandbox, linear, 20)
    assert golden.columns == ["distance", "stops", "carrier", "late"]
    assert len(golden.rows) == len(golden.answers) == len(golden.csv_answers) == 20
    assert golden.from_example == 3
    assert golden.rows[0] == table()[0].iloc[0].tolist()
    assert golden.json == {"dataframe_split": {"columns": golden.columns, "data": golden.rows}}
    assert {row[2] for row in golden.rows} <= {"AA", "UA", "DL"}
    assert len({json.dumps(row) for row in golden.rows}) > 15
    check(golden, linear)


def test_the_same_rows_every_time(sandbox: Sandbox, linear: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(linear, copy)
    assert make_golden_rows(sandbox, linear, 6).to_json() == make_golden_rows(sandbox, copy, 6).to_json()


def test_fewer_rows_than_the_example_has(sandbox: Sandbox, linear: Path) -> None:
    golden = make_golden_rows(sandbox, linear, 2)
    assert len(golden.rows) == 2
    check(golden, linear)


def test_a_layout_of_mlflow_1(sandbox: Sandbox, linear: Path, tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.mkdir()
    frame, target = table()
    model = LinearRegression().fit(frame[["distance", "stops"]], target)
    (path / "model.pkl").write_bytes(pickle.dumps(model))
    (path / "input_example.json").write_text('{"columns": ["distance", "stops"], "data": [[812.5, 1]]}')
    (path / "MLmodel").write_text(
        "artifact_path: model\n"
        "flavors:\n"
        "  python_function:\n"
        "    data: model.pkl\n"
        "    env: conda.yaml\n"
        "    loader_module: mlflow.sklearn\n"
        "    python_version: 3.11.4\n"
        "  sklearn:\n"
        "    pickled_model: model.pkl\n"
        "    serialization_format: pickle\n"
        "    sklearn_version: 1.0\n"
        "saved_input_example_info: {artifact_path: input_example.json, pandas_orient: split, type: dataframe}\n"
        "signature:\n"
        '  inputs: \'[{"name": "distance", "type": "double"}, {"name": "stops", "type": "long"}]\'\n'
        '  outputs: \'[{"type": "double"}]\'\n'
    )
    golden = make_golden_rows(sandbox, path, 5)
    assert len(golden.rows) == 5
    expected = model.predict(pd.DataFrame(golden.rows, columns=golden.columns))
    assert golden.answers == pytest.approx(expected.tolist())
    check(golden, path)


def test_no_example_but_a_signature(sandbox: Sandbox, tmp_path: Path) -> None:
    frame, target = table()
    numbers = frame[["distance", "stops"]]
    model = LogisticRegression().fit(numbers, target > 2)
    mlflow.sklearn.save_model(
        model, tmp_path / "m", signature=infer_signature(numbers, model.predict(numbers)), pip_requirements=REQUIREMENTS
    )
    golden = make_golden_rows(sandbox, tmp_path / "m", 5)
    assert (len(golden.rows), golden.from_example) == (5, 0)
    check(golden, tmp_path / "m")


def test_neither_example_nor_signature_is_a_clear_error(sandbox: Sandbox, tmp_path: Path) -> None:
    mlflow.sklearn.save_model(LinearRegression().fit([[1.0]], [1.0]), tmp_path / "m", pip_requirements=REQUIREMENTS)
    with pytest.raises(SandboxError, match="no input example"):
        make_golden_rows(sandbox, tmp_path / "m", 5)


def test_no_signature_but_an_example(sandbox: Sandbox, tmp_path: Path) -> None:
    frame, target = table()
    numbers = frame[["distance", "stops"]]
    model = LinearRegression().fit(numbers, target)
    path = tmp_path / "m"
    mlflow.sklearn.save_model(
        model, path, input_example=numbers.head(4), signature=False, pip_requirements=REQUIREMENTS
    )
    assert mlflow.models.Model.load(path).signature is None
    golden = make_golden_rows(sandbox, path, 10)
    assert golden.rows[:4] == [[float(row.distance), int(row.stops)] for row in numbers.head(4).itertuples()]
    assert golden.from_example == 4
    check(golden, path)


def test_rows_on_which_the_model_itself_raises_are_left_out(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        if (data["x"] > 1).any():
            raise ValueError("too big")
        return data["x"] * 2

    example = pd.DataFrame({"x": [0.5, 3.0, 0.75]})
    path = python_model(predict, signature=infer_signature(example, example.x), input_example=None)
    (path / "input_example.json").write_text(json.dumps({"columns": ["x"], "data": [[0.5], [3.0], [0.75]]}))
    text = (path / "MLmodel").read_text()
    (path / "MLmodel").write_text(
        text + "saved_input_example_info: {artifact_path: input_example.json, type: dataframe}\n"
    )
    golden = make_golden_rows(sandbox, path, 30)
    assert 2 < len(golden.rows) < 30
    assert all(row[0] <= 1 for row in golden.rows)
    assert [0.5] in golden.rows
    check(golden, path)


def test_a_model_that_raises_always_shows_its_traceback(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        raise KeyError("column of the training table")

    frame = pd.DataFrame({"x": [0.5]})
    path = python_model(predict, signature=infer_signature(frame, frame.x))
    with pytest.raises(SandboxError, match="column of the training table"):
        make_golden_rows(sandbox, path, 5)


def test_a_model_of_chance_cannot_be_verified(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        import numpy

        return numpy.random.default_rng().normal(size=len(data))

    frame = pd.DataFrame({"x": [0.5]})
    path = python_model(predict, signature=infer_signature(frame, frame.x))
    with pytest.raises(SandboxError, match="differ from call to call"):
        make_golden_rows(sandbox, path, 5)


def test_dates_nulls_and_missing_answers(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        import pandas

        days = pandas.to_datetime(data["when"]).dt.dayofyear
        return pandas.DataFrame({"day": days, "half": data["maybe"] / 2, "name": data["name"].fillna("none")})

    signature = ModelSignature(
        inputs=Schema(
            [
                ColSpec("datetime", "when"),
                ColSpec("double", "maybe", required=False),
                ColSpec("string", "name", required=False),
            ]
        )
    )
    example = pd.DataFrame({"when": pd.to_datetime(["2024-02-29 12:00:00"]), "maybe": [1.0], "name": ['a,"b"\n']})
    path = python_model(predict, signature=signature, input_example=example)
    golden = make_golden_rows(sandbox, path, 40)
    assert len(golden.rows) == 40
    assert any(row[1] is None for row in golden.rows)
    assert all(row[0] is not None for row in golden.rows)
    assert any(answer["half"] is None for answer in golden.answers)
    found = served(path, "application/json", golden.payloads["application/json"])
    assert json.loads(json.dumps(found), parse_constant=lambda _: None) == golden.answers
    assert golden.csv is None  # MLflow's own reader refuses dates in CSV
    assert golden.csv_problem


def test_optional_whole_numbers_reach_csv_only_where_they_are_there(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        return data["n"].fillna(-1).astype(float)

    signature = ModelSignature(inputs=Schema([ColSpec("double", "x"), ColSpec("long", "n", required=False)]))
    path = python_model(predict, signature=signature, input_example=pd.DataFrame({"x": [1.5, 2.5], "n": [1, 2]}))
    golden = make_golden_rows(sandbox, path, 30)
    assert golden.csv is not None
    assert "," in golden.csv
    check(golden, path)


def test_tensors(sandbox: Sandbox, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(20, 3))
    model = LinearRegression().fit(values, values.sum(axis=1))
    path = tmp_path / "m"
    mlflow.sklearn.save_model(
        model,
        path,
        signature=infer_signature(values, model.predict(values)),
        input_example=values[:2],
        pip_requirements=REQUIREMENTS,
    )
    golden = make_golden_rows(sandbox, path, 9)
    assert golden.columns == []
    assert list(golden.json) == ["inputs"]
    assert len(golden.json["inputs"]) == len(golden.answers) == 9
    assert golden.answers == pytest.approx(np.array(golden.json["inputs"]).sum(axis=1).tolist())
    assert golden.csv is None
    check(golden, path)


def test_a_tensor_without_example_comes_from_its_shape(sandbox: Sandbox, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(20, 3))
    model = LinearRegression().fit(values, values.sum(axis=1))
    path = tmp_path / "m"
    mlflow.sklearn.save_model(
        model, path, signature=infer_signature(values, model.predict(values)), pip_requirements=REQUIREMENTS
    )
    golden = make_golden_rows(sandbox, path, 9)
    assert np.array(golden.json["inputs"]).shape[1] == 3
    check(golden, path)


def test_answers_that_are_objects_texts_or_not_a_number(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        return [{"name": "é", "score": float("nan") if value > 1 else value} for value in data["x"]]

    frame = pd.DataFrame({"x": [0.5, 2.0]})
    path = python_model(predict, signature=infer_signature(frame, None), input_example=frame)
    golden = make_golden_rows(sandbox, path, 2)
    assert golden.answers == [{"name": "é", "score": 0.5}, {"name": "é", "score": None}]
    check(golden, path)


def test_a_model_that_wants_the_network_gets_none(sandbox: Sandbox, python_model) -> None:
    def predict(data):
        import os
        import socket

        try:
            socket.create_connection(("127.0.0.1", 1))
            reached = "yes"
        except PermissionError:
            reached = "refused"
        return [reached + str([name for name in os.environ if name.startswith("AWS")]) for _ in range(len(data))]

    frame = pd.DataFrame({"x": [0.5]})
    path = python_model(predict, signature=infer_signature(frame, ["a"]), input_example=None)
    assert make_golden_rows(sandbox, path, 1).answers == ["refused[]"]


def test_a_model_whose_files_are_broken_is_named(sandbox: Sandbox, linear: Path, tmp_path: Path) -> None:
    copy = tmp_path / "broken-model"
    shutil.copytree(linear, copy)
    next(copy.glob("model.*")).write_bytes(b"not a model")
    with pytest.raises(SandboxError, match="broken-model"):
        make_golden_rows(sandbox, copy, 3)
