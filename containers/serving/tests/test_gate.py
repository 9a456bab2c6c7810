"""The parity gate, and the self-test that repeats a part of it on every start."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import models
import numpy as np
import pytest
from serving_process import RunningServer, serving

from slipway_serving.convert import convert as conversion
from slipway_serving.convert import sklearn_model
from slipway_serving.convert.convert import convert
from slipway_serving.engines.build import load_engine
from slipway_serving.message import CSV, JSON, Request
from slipway_serving.program.store import load_program, save_program


@pytest.fixture(scope="module")
def mixed_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.save_mixed(tmp_path_factory.mktemp("gate") / "mixed")


@pytest.fixture
def linear_copy(linear_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(linear_model, tmp_path / "model"))


def spoil(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Make the compiler produce a wrong program."""
    right = sklearn_model._program

    def wrong(*arguments: Any, **options: Any) -> dict[str, Any]:
        program = right(*arguments, **options)
        for step in program["steps"]:
            change(step)
        return program

    monkeypatch.setattr(sklearn_model, "_program", wrong)


def nudge_weights(step: dict[str, Any]) -> None:
    if step["op"] == "linear":
        step["weights"] = step["weights"] * (1 + 1e-6)


def drop_null_check(step: dict[str, Any]) -> None:
    if step["op"] == "finite":
        step["op"] = "concat"


def nudge_threshold(step: dict[str, Any]) -> None:
    if step["op"] == "forest":
        threshold = step["trees"]["threshold"]
        threshold[-1] = np.nextafter(np.float32(threshold[-1]), np.float32(np.inf))


def nudge_leaf(step: dict[str, Any]) -> None:
    if step["op"] == "forest":
        step["trees"]["value"] = step["trees"]["value"] * (1 + 1e-7)


@pytest.mark.parametrize("change", [nudge_weights, drop_null_check], ids=lambda change: change.__name__)
def test_a_wrong_linear_program_is_refused(linear_copy: Path, monkeypatch: pytest.MonkeyPatch, change: Any):
    spoil(monkeypatch, change)
    record = convert(linear_copy, linear_copy)
    assert record["engine"] != "native"
    assert "answers differ" in record["tried"][0]["reason"]


@pytest.mark.parametrize("change", [nudge_leaf], ids=lambda change: change.__name__)
def test_a_wrong_forest_is_refused(mixed_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any):
    spoil(monkeypatch, change)
    record = convert(mixed_model, tmp_path)
    assert record["engine"] == "pyfunc"
    assert "answers differ" in record["tried"][0]["reason"]


def test_a_threshold_off_by_one_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = models.save_tensor(tmp_path / "model")
    spoil(monkeypatch, nudge_threshold)
    assert convert(model, model)["engine"] == "numpy"


def nudge_edge(step: dict[str, Any]) -> None:
    if step["op"] == "bucket":
        step["edges"] = [np.nextafter(edges, -np.inf) for edges in step["edges"]]


def forget_missing_mark(step: dict[str, Any]) -> None:
    if step["op"] == "impute":
        step["missing"] = -998.0


@pytest.mark.parametrize("change", [nudge_edge, forget_missing_mark], ids=lambda change: change.__name__)
def test_an_interval_or_a_mark_that_is_off_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any):
    import pandas as pd
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Binarizer

    rows = pd.DataFrame(np.random.default_rng(6).normal(size=(60, 2)), columns=["a", "b"])
    model = make_pipeline(
        SimpleImputer(missing_values=-999.0, strategy="constant", fill_value=5.0), Binarizer(threshold=0.3)
    )
    model = make_pipeline(model, LinearRegression()).fit(rows, rows["a"] > rows["b"])
    folder = models.save_fitted(tmp_path / "model", model, rows)
    assert convert(folder, tmp_path)["engine"] == "native"
    spoil(monkeypatch, change)
    record = convert(folder, tmp_path)
    assert record["engine"] != "native"
    assert "answers differ" in record["tried"][0]["reason"]


def test_what_cannot_be_compiled_falls_back_with_the_reason(tmp_path: Path):
    echo = models.save_echo(tmp_path / "echo")
    record = convert(echo, echo)
    assert (record["engine"], record["tried"][0]["reason"]) == (
        "pyfunc",
        "columns of type Array, Map, Object, binary, datetime",
    )
    unsigned = models.save_echo(tmp_path / "unsigned", signature=False)
    assert "no signature" in convert(unsigned, unsigned)["tried"][0]["reason"]


def test_a_service_can_ask_for_pyfunc(linear_copy: Path):
    assert convert(linear_copy, linear_copy, engine="pyfunc")["engine"] == "pyfunc"
    assert json.loads((linear_copy / "engine.json").read_text())["engine"] == "pyfunc"
    assert load_engine(linear_copy).name == "pyfunc"


def test_estimators_without_compiled_form_are_fed_with_arrays(tmp_path: Path):
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    rows, target = load_iris(return_X_y=True, as_frame=True)
    model = KNeighborsClassifier().fit(rows, target)
    signature = infer_signature(rows, model.predict(rows))
    mlflow.sklearn.save_model(
        model, tmp_path / "model", signature=signature, input_example=rows[:5],
        pip_requirements=["scikit-learn"], serialization_format="cloudpickle",
    )  # fmt: skip
    record = convert(tmp_path / "model", tmp_path / "model")
    assert record["engine"] == "numpy"
    assert "KNeighborsClassifier" in record["tried"][0]["reason"]
    engine = load_engine(tmp_path / "model")
    body = json.dumps({"dataframe_split": {"columns": list(rows.columns), "data": rows[::10].to_numpy().tolist()}})
    answer = engine.answer(Request(body.encode()))
    assert json.loads(answer.body)["predictions"] == model.predict(rows[::10]).tolist()
    assert engine.fallbacks == 0


def test_ordinary_requests_never_need_mlflow(mixed_model: Path, tmp_path: Path):
    folder = tmp_path / "model"
    shutil.copytree(mixed_model, folder)
    convert(folder, folder)
    engine = load_engine(folder)
    names = models.MIXED_COLUMNS
    row = [10.5, 0.25, 7, 2, True, "Oslo"]
    record = dict(zip(names, row, strict=True))
    split = {"columns": names, "data": [row, row]}
    documents = [
        {"dataframe_split": split},
        {"dataframe_split": {**split, "index": [0, 1]}},
        {"dataframe_split": {"columns": names[::-1], "data": [row[::-1]]}},
        {"dataframe_split": split, "params": None},
        {"dataframe_records": [record, {**record, "amount": None, "extra": 1}]},
        {"instances": [record]},
        {"inputs": [record]},
        {"inputs": {name: [value] for name, value in record.items()}},
    ]
    requests = [Request(json.dumps(document).encode()) for document in documents]
    requests[4] = Request(json.dumps({"dataframe_records": [record, {**record, "amount": None}]}).encode())
    csv_text = "amount,ratio,count,small,city\n"
    assert engine.answer_covered(Request(csv_text.encode(), CSV)) is None
    requests.append(Request(json.dumps(row).encode() + b"\n" + json.dumps(row).encode(), "application/jsonlines"))
    for request in requests:
        response = engine.answer_covered(request)
        assert response is not None, request
        assert response.status == 200
    for content_type in ("application/json; charset=utf-8", JSON):
        assert engine.answer_covered(Request(requests[0].body, content_type)) is not None


def test_numeric_csv_never_needs_mlflow(linear_copy: Path):
    convert(linear_copy, linear_copy)
    engine = load_engine(linear_copy)
    response = engine.answer_covered(Request(b"c0,c1,c2,c3\n1,2.5,-3e1,4\n0,0,0,0\n", CSV))
    assert response is not None
    assert json.loads(response.body) == {"predictions": [0, 0]}


def test_the_server_of_a_compiled_model_imports_neither_mlflow_nor_pandas_nor_sklearn(
    linear_copy: Path, tmp_path: Path
):
    convert(linear_copy, linear_copy)
    with serving(linear_copy, tmp_path) as server:
        columns = ["c0", "c1", "c2", "c3"]
        assert server.invoke({"dataframe_split": {"columns": columns, "data": [[1, 2, 3, 4]]}}).status_code == 200
        assert not {"mlflow", "pandas", "sklearn"} & loaded_packages(server)
        assert server.invoke({"dataframe_split": {"columns": columns, "data": [["1", 2, 3, 4]]}}).status_code == 200
        assert "slipway_fallbacks 1" in server.get("/metrics").text


def loaded_packages(server: RunningServer) -> set[str]:
    """Return the packages whose extension modules the server's processes have mapped."""
    found = set()
    for pid in [server.process.pid, *children(server.process.pid)]:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if "site-packages/" in line:
                found.add(line.split("site-packages/")[1].split("/")[0])
    return found


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def golden_document(model: Path) -> dict[str, Any]:
    """Make golden rows as the release does: the original's answers to JSON and CSV."""
    names = models.MIXED_COLUMNS
    rows = [[10.5, 0.25, 7, 2, True, "Oslo"], [-250.0, 0.5, 40, 4, False, "Bern"]]
    split = {"dataframe_split": {"columns": names, "data": rows}}
    text = ",".join(names) + "\n10.5,0.25,7,2,True,Oslo\n"
    engine = load_engine(model)
    answers = json.loads(engine.answer(Request(json.dumps(split).encode())).body)["predictions"]
    return {"columns": names, "rows": rows, "answers": answers, "json": split, "csv": text, "csv_answers": answers[:1]}


def test_one_corrupted_weight_keeps_the_container_unhealthy(mixed_model: Path, tmp_path: Path):
    model = tmp_path / "model"
    shutil.copytree(mixed_model, model)
    (model / "golden.json").write_text(json.dumps(golden_document(mixed_model)))
    convert(model, model)
    with serving(model, tmp_path) as server:
        assert "3 golden rows agree" in server.log.read_text()
    program = load_program(model)
    for step in program["steps"]:
        if step["op"] == "forest":
            step["trees"]["value"][:, 0] *= 1.001
    save_program(model, program)
    with serving(model, tmp_path, wait=False) as server:
        answer = wait_for_answer(server)
        assert answer.status_code == 503
        assert "self-test" in answer.json()["message"]


def wait_for_answer(server: RunningServer) -> httpx.Response:
    import time

    for _ in range(300):
        try:
            return server.get("/ping")
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(server.log.read_text())


def test_the_record_says_what_was_proven(linear_copy: Path, tmp_path: Path):
    record = conversion.convert(linear_copy, tmp_path)
    assert record == json.loads((tmp_path / "engine.json").read_text())
    assert record["parity"]["rows"] > 400
    assert record["parity"]["largest_difference"] < 1e-9
    assert record["versions"]["numpy"] == np.__version__
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["engine.json", "program.json", "program.npz"]


def stored_answers(model: Path, folder: Path, rows: int = 12) -> Path:
    """What a trainer would write beside the model: requests and the original's answers."""
    document = json.loads((model / "serving_input_example.json").read_text())["dataframe_split"]
    data = [[value * (1 + 0.01 * index) for value in document["data"][0]] for index in range(rows)]
    request = {"dataframe_split": {"columns": document["columns"], "data": data}}
    csv = "\n".join([",".join(document["columns"]), *(",".join(map(repr, row)) for row in data), ""])
    original = load_engine(model)
    answers = {
        kind: json.loads(original.answer(Request(body.encode(), kind)).body)["predictions"]
        for kind, body in ((JSON, json.dumps(request)), (CSV, csv))
    }
    golden = {"columns": document["columns"], "rows": data, "answers": answers[JSON], "json": request}
    path = folder / "golden.json"
    path.write_text(json.dumps({**golden, "csv": csv, "csv_answers": answers[CSV]}))
    return path


def test_stored_answers_prove_a_model_whose_original_cannot_run(
    linear_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = stored_answers(linear_copy, tmp_path)

    def no_original(_folder: Path) -> None:
        raise AssertionError("the original was loaded")

    monkeypatch.setattr(conversion, "PyfuncEngine", no_original)
    record = convert(linear_copy, linear_copy, golden_file=golden)
    assert record["engine"] == "native"
    assert record["proof"] == "stored answers of the original model"
    assert record["parity"]["rows"] == 24
    assert load_engine(linear_copy).name == "native"


def test_one_stored_answer_that_differs_is_enough_to_refuse(linear_copy: Path, tmp_path: Path) -> None:
    golden = stored_answers(linear_copy, tmp_path)
    document = json.loads(golden.read_text())
    document["answers"][7] = 1 - document["answers"][7]
    golden.write_text(json.dumps(document))
    record = convert(linear_copy, linear_copy, golden_file=golden)
    assert record["engine"] == "pyfunc"
    assert all("answers differ" in tried["reason"] for tried in record["tried"])


def test_a_few_stored_answers_prove_nothing(linear_copy: Path, tmp_path: Path) -> None:
    record = convert(linear_copy, linear_copy, golden_file=stored_answers(linear_copy, tmp_path, rows=9))
    assert record["engine"] == "pyfunc"
    assert "9 stored answers" in record["tried"][0]["reason"]
