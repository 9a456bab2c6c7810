"""The same payloads to MLflow's own scoring server and to ours: the same answers, the same class of errors."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_process import JSON, RunningServer, free_port, serving, wait_healthy

CSV = "text/csv"
ROW = [10.5, 0.25, 7, 2, True, "Oslo"]
NAMES = models.MIXED_COLUMNS


@dataclass
class Pair:
    """MLflow's server and ours, on one model."""

    theirs: RunningServer
    ours: RunningServer

    def check(self, body: bytes | dict[str, Any], content_type: str = JSON) -> httpx.Response:
        expected = self.theirs.invoke(body, content_type)
        found = self.ours.invoke(body, content_type)
        answers = [
            f"{name}: {answer.status_code} {answer.text[:300]}"
            for name, answer in (("MLflow", expected), ("ours", found))
        ]
        place = "\n".join([repr(body), *answers])
        if expected.status_code == 200:
            assert found.status_code == 200, place
            assert same(json.loads(expected.text), json.loads(found.text)), place
        else:
            assert 400 <= found.status_code < 500, place
        return found


def same(expected: Any, found: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return expected == pytest.approx(found, rel=1e-12, abs=1e-15, nan_ok=True)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(same(value, found[key]) for key, value in expected.items())
    return type(expected) is type(found) and expected == found


def start_mlflow(model: Path, folder: Path, stack: ExitStack) -> RunningServer:
    """Start what ``mlflow models serve --env-manager local`` starts."""
    port = free_port()
    log = folder / f"mlflow-{port}.log"
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    output = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(
        [*command, "mlflow.pyfunc.scoring_server.app:app"],
        env={**os.environ, "__pyfunc_model_path__": str(model), "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=folder,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    server = RunningServer(f"http://127.0.0.1:{port}", process, log)
    wait_healthy(server)
    return server


Start = Callable[[Path], Pair]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    folder = tmp_path_factory.mktemp("pairs")
    with ExitStack() as stack:

        def both(model: Path) -> Pair:
            ours = stack.enter_context(serving(model, folder))
            return Pair(start_mlflow(model, folder, stack), ours)

        yield both


@pytest.fixture(scope="module")
def mixed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    model = models.save_mixed(tmp_path_factory.mktemp("mixed") / "model")
    assert models.compile_model(model)["engine"] == "native"
    return start(model)


@pytest.fixture(scope="module")
def tensor(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    model = models.save_tensor(tmp_path_factory.mktemp("tensor") / "model")
    assert models.compile_model(model)["engine"] == "native"
    return start(model)


@pytest.fixture(scope="module")
def echo(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return start(models.save_echo(tmp_path_factory.mktemp("echo") / "model"))


@pytest.fixture(scope="module")
def unsigned(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return start(models.save_echo(tmp_path_factory.mktemp("unsigned") / "model", signature=False))


def split(*rows: list[Any], names: list[str] = NAMES, **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": names, "data": list(rows), **more}}


def changed(**values: Any) -> list[Any]:
    return [values.get(name, value) for name, value in zip(NAMES, ROW, strict=True)]


RECORD = dict(zip(NAMES, ROW, strict=True))

MIXED_PAYLOADS: dict[str, Any] = {
    "split": split(ROW),
    "split, many rows": split(*[changed(amount=i * 3.7, count=i) for i in range(50)]),
    "split, other order": split(ROW[::-1], names=NAMES[::-1]),
    "split with index": split(ROW, index=[17]),
    "split with text index": split(ROW, ROW, index=["a", "a"]),
    "split with wrong index": split(ROW, index=[1, 2]),
    "split without columns": {"dataframe_split": {"data": [ROW]}},
    "split without data": {"dataframe_split": {"columns": NAMES}},
    "split with extra key": split(ROW, extra=1),
    "split as list": {"dataframe_split": [ROW]},
    "no rows": split(),
    "extra column": split([*ROW, "x"], names=[*NAMES, "more"]),
    "extra nested column": split([*ROW, {"a": [1]}], names=[*NAMES, "more"]),
    "missing column": split(ROW[1:], names=NAMES[1:]),
    "missing optional column": split([ROW[0], *ROW[2:]], names=[NAMES[0], *NAMES[2:]]),
    "twice the same column": split([*ROW, 1.0], names=[*NAMES, "amount"]),
    "short row": split(ROW, ROW[:-1]),
    "long row": split([*ROW, 1]),
    "rows as objects": {"dataframe_split": {"columns": NAMES, "data": [RECORD]}},
    "records": {"dataframe_records": [RECORD, {**RECORD, "amount": -5}]},
    "records, extra": {"dataframe_records": [{**RECORD, "more": [1]}]},
    "records, one lacks a value": {"dataframe_records": [RECORD, {k: v for k, v in RECORD.items() if k != "amount"}]},
    "records, missing column": {"dataframe_records": [{k: v for k, v in RECORD.items() if k != "city"}]},
    "records as object": {"dataframe_records": RECORD},
    "records of lists": {"dataframe_records": [ROW]},
    "no records": {"dataframe_records": []},
    "instances": {"instances": [RECORD, RECORD]},
    "instances of lists": {"instances": [ROW]},
    "instances, extra": {"instances": [{**RECORD, "more": 1}]},
    "instances, missing": {"instances": [{"amount": 1.0}]},
    "instances, ragged": {"instances": [RECORD, {"amount": 1.0}]},
    "inputs by column": {"inputs": {name: [value, value] for name, value in RECORD.items()}},
    "inputs, scalars": {"inputs": RECORD},
    "inputs, one longer": {"inputs": {**{name: [value] for name, value in RECORD.items()}, "amount": [1.0, 2.0]}},
    "inputs as records": {"inputs": [RECORD]},
    "inputs with null": {"inputs": {**{name: [value] for name, value in RECORD.items()}, "amount": [None]}},
    "inputs with null text": {"inputs": {**{name: [value] for name, value in RECORD.items()}, "city": [None]}},
    "inputs, text with NUL": {"inputs": {**{name: [value] for name, value in RECORD.items()}, "city": ["Oslo\0"]}},
    "null in double": split(changed(amount=None)),
    "null in float": split(changed(ratio=None)),
    "null in long": split(changed(count=None)),
    "null in integer": split(changed(small=None)),
    "null in boolean": split(changed(flag=None)),
    "null in text": split(changed(city=None)),
    "null in text among texts": split(ROW, changed(city=None)),
    "null rows": split([None] * 6),
    "integer in double": split(changed(amount=3)),
    "huge integer in double": split(changed(amount=2**70)),
    "text in double": split(changed(amount="3.5")),
    "word in double": split(changed(amount="x")),
    "boolean in double": split(changed(amount=True)),
    "list in double": split(changed(amount=[1.0])),
    "double in float": split(changed(ratio=0.123456789012345)),
    "huge in float": split(changed(ratio=1e300)),
    "fraction in long": split(changed(count=2.7)),
    "whole float in long": split(changed(count=2.0)),
    "fraction in integer": split(changed(small=-1.5)),
    "beyond integer": split(changed(small=2**31)),
    "beyond long": split(changed(count=2**63)),
    "large long": split(changed(count=2**53 + 1)),
    "boolean in long": split(changed(count=True)),
    "text in long": split(changed(count="4")),
    "integer in boolean": split(changed(flag=1)),
    "float in boolean": split(changed(flag=0.5)),
    "text in boolean": split(changed(flag="true")),
    "integer in text": split(changed(city=5)),
    "unseen text": split(changed(city="Atlantis")),
    "empty text": split(changed(city="")),
    "other alphabets": split(changed(city="Ὀσλο ☃")),
    "infinity": b'{"dataframe_split": {"columns": %s, "data": [[Infinity, 0.1, 1, 1, true, "Oslo"]]}}'
    % json.dumps(NAMES).encode(),
    "not-a-number": b'{"dataframe_split": {"columns": %s, "data": [[NaN, 0.1, 1, 1, true, "Oslo"]]}}'
    % json.dumps(NAMES).encode(),
    "overflow": b'{"dataframe_split": {"columns": %s, "data": [[1e999, 0.1, 1, 1, true, "Oslo"]]}}'
    % json.dumps(NAMES).encode(),
    "UTF-16": json.dumps(split(ROW)).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(split(ROW)).encode(),
    "lone surrogate": json.dumps(split(changed(city="\ud800"))).encode(),
    "empty params": {**split(ROW), "params": {}},
    "null params": {**split(ROW), "params": None},
    "unknown params": {**split(ROW), "params": {"top": 1}},
    "odd params": {**split(ROW), "params": [1]},
    "another key": {**split(ROW), "more": 1},
    "two forms": {**split(ROW), "inputs": [1]},
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "prompt beside the form": {**split(ROW), "prompt": "hi"},
    "no form": {"rows": [ROW]},
    "empty object": {},
    "list": b"[1, 2]",
    "number": b"5",
    "null": b"null",
    "text": b'"x"',
    "empty": b"",
    "cut off": b'{"dataframe_split": {"col',
    "deep": b"[" * 5000 + b"]" * 5000,
    "deep in a form": b'{"inputs":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "bad UTF-8": b'{"inputs": "\xff"}',
}


@pytest.mark.parametrize("payload", MIXED_PAYLOADS.values(), ids=MIXED_PAYLOADS.keys())
def test_json_over_columns(mixed: Pair, payload: Any):
    mixed.check(payload)


HEAD = ",".join(NAMES)
CSV_PAYLOADS = {
    "rows": f"{HEAD}\n10.5,0.25,7,2,True,Oslo\n-3,0.5,1,1,False,Bern\n",
    "no last newline": f"{HEAD}\n10.5,0.25,7,2,True,Oslo",
    "carriage returns": f"{HEAD}\r\n10.5,0.25,7,2,True,Oslo\r\n",
    "other order": "city,flag,small,count,ratio,amount\nOslo,True,2,7,0.25,10.5\n",
    "extra column": f"{HEAD},more\n10.5,0.25,7,2,True,Oslo,x\n",
    "missing column": "amount,ratio\n1,2\n",
    "quotes": f'{HEAD}\n10.5,0.25,7,2,True,"Oslo"\n',
    "comma in quotes": f'{HEAD}\n10.5,0.25,7,2,True,"Oslo, Norway"\n',
    "blank line": f"{HEAD}\n\n10.5,0.25,7,2,True,Oslo\n\n",
    "empty field": f"{HEAD}\n,0.25,7,2,True,Oslo\n",
    "empty text": f"{HEAD}\n1.5,0.25,7,2,True,\n",
    "null words": f"{HEAD}\nNA,null,7,2,True,None\n",
    "empty long": f"{HEAD}\n1.5,0.25,,2,True,Oslo\n",
    "fraction in long": f"{HEAD}\n1.5,0.25,1.5,2,True,Oslo\n",
    "exponents": f"{HEAD}\n1.5e1,2.5E-1,7,2,True,Oslo\n",
    "odd spellings": f"{HEAD}\n+1.,.5,07,2,True,Oslo\n",
    "infinite": f"{HEAD}\ninf,0.5,7,2,True,Oslo\n",
    "words": f"{HEAD}\nten,0.5,7,2,True,Oslo\n",
    "zero and one as boolean": f"{HEAD}\n1,0.5,7,2,1,Oslo\n",
    "spaces": f"{HEAD}\n 1, 0.5, 7, 2,True, Oslo\n",
    "short row": f"{HEAD}\n1,0.5,7\n",
    "long row": f"{HEAD}\n1,0.5,7,2,True,Oslo,8\n",
    "header only": f"{HEAD}\n",
    "no header": "10.5,0.25,7,2,True,Oslo\n",
    "empty": "",
    "other alphabets": f"{HEAD}\n10.5,0.25,7,2,True,Ὀσλο\n",
    "byte order mark": f"\ufeff{HEAD}\n10.5,0.25,7,2,True,Oslo\n",
    "NUL": f"{HEAD}\n10.5,0.25,7,2,True,Os\0lo\n",
    "long numbers": f"{HEAD}\n0.1234567890123456789,0.25,7,2,True,Oslo\n",
    "big numbers": f"{HEAD}\n1e400,0.25,99999999999999999999,2,True,Oslo\n",
    "brackets": f"{HEAD}\n[1],0.25,7,2,True,Oslo\n",
}


@pytest.mark.parametrize("text", CSV_PAYLOADS.values(), ids=CSV_PAYLOADS.keys())
def test_csv_over_columns(mixed: Pair, text: str):
    mixed.check(text.encode(), CSV)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json; charset=latin-1",
        "application/json; version=1",
        "application/json;",
        "APPLICATION/JSON",
        "text/csv; charset=utf-8",
        "text/csv; header=present",
        "application/x-npy",
        "text/plain",
        "application/vnd.apache.parquet",
        "nonsense",
        ";",
    ],
)
def test_content_types(mixed: Pair, content_type: str):
    mixed.check(json.dumps(split(ROW)).encode(), content_type)


def test_parquet(mixed: Pair):
    import io

    import pandas as pd

    frame = pd.DataFrame([ROW], columns=NAMES).astype({"ratio": "float32", "small": "int32"})
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    assert mixed.check(buffer.getvalue(), "application/vnd.apache.parquet").status_code == 200


TENSOR_PAYLOADS = {
    "inputs": {"inputs": [[1.0, 2.0, 3.0], [0, -1, 0.5]]},
    "instances": {"instances": [[1.0, 2.0, 3.0]]},
    "integers": {"inputs": [[1, 2, 3]]},
    "split": {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1.0, 2, 3]]}},
    "split, numbered": {"dataframe_split": {"columns": [0, 1, 2], "data": [[1.0, 2, 3]]}},
    "split, same names": {"dataframe_split": {"columns": ["a", "a", "b"], "data": [[1.0, 2, 3]]}},
    "split without columns": {"dataframe_split": {"data": [[1.0, 2, 3]]}},
    "split, too few": {"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 2]]}},
    "records": {"dataframe_records": [{"a": 1.0, "b": 2.0, "c": 3.0}]},
    "one row": {"inputs": [1.0, 2.0, 3.0]},
    "too wide": {"inputs": [[1.0, 2.0, 3.0, 4.0]]},
    "three deep": {"inputs": [[[1.0, 2.0, 3.0]]]},
    "ragged": {"inputs": [[1.0, 2.0], [1.0, 2.0, 3.0]]},
    "empty": {"inputs": []},
    "empty row": {"inputs": [[]]},
    "null": {"inputs": [[None, 2.0, 3.0]]},
    "text": {"inputs": [["1.5", 2.0, 3.0]]},
    "word": {"inputs": [["x", 2.0, 3.0]]},
    "booleans": {"inputs": [[True, False, True]]},
    "named": {"inputs": {"a": [[1.0, 2.0, 3.0]]}},
    "objects": {"instances": [{"a": 1.0}]},
    "scalar": {"inputs": 1.0},
    "huge": {"inputs": [[1e300, 2.0, 3.0]]},
    "params": {"inputs": [[1.0, 2.0, 3.0]], "params": {"x": 1}},
}


@pytest.mark.parametrize("payload", TENSOR_PAYLOADS.values(), ids=TENSOR_PAYLOADS.keys())
def test_json_over_a_tensor(tensor: Pair, payload: Any):
    tensor.check(payload)


@pytest.mark.parametrize("text", ["a,b,c\n1.0,2.0,3.0\n", "a,b,c\n1,2,3\n", "1,2,3\n", "a,b\n1.5,2.5\n", ""])
def test_csv_over_a_tensor(tensor: Pair, text: str):
    tensor.check(text.encode(), CSV)


def named(**values: Any) -> dict[str, Any]:
    return {"dataframe_records": [{"name": "n", **values}]}


ECHO_PAYLOADS = {
    "date": named(when="2024-03-01"),
    "time": named(when="2024-03-01T12:30:00.123456"),
    "time with zone": named(when="2024-03-01T12:30:00+02:00"),
    "epoch": named(when=1_700_000_000),
    "no date": named(when="soon"),
    "null date": named(when=None),
    "base64": named(blob=base64.b64encode(b"\0\1\2").decode()),
    "not base64": named(blob="@@@"),
    "number for base64": named(blob=5),
    "array": named(series=[1.0, 2, 3]),
    "array of texts": named(series=["a"]),
    "scalar for array": named(series=1.0),
    "object": named(point={"x": 1.0, "y": 2}),
    "object without optional part": named(point={"x": 1.0}),
    "object without required part": named(point={"y": 1.0}),
    "object with extra part": named(point={"x": 1.0, "z": 1.0}),
    "map": named(counts={"a": 1, "b": 2}),
    "map of texts": named(counts={"a": "x"}),
    "null everywhere": named(when=None, blob=None, series=None, point=None, counts=None),
    "params": {**named(), "params": {"top": 5, "scale": 2}},
    "params of another type": {**named(), "params": {"top": "many"}},
    "unknown params": {**named(), "params": {"bottom": 5}},
    "params as list": {**named(), "params": [5]},
    "inputs": {"inputs": {"name": ["a", "b"]}},
    "inputs, scalar": {"inputs": {"name": "a"}},
    "inputs, nested": {"inputs": {"name": "a", "series": [1.0, 2.0], "point": {"x": 1.0}}},
    "instances": {"instances": [{"name": "a", "series": [1.0]}]},
}


@pytest.mark.parametrize("payload", ECHO_PAYLOADS.values(), ids=ECHO_PAYLOADS.keys())
def test_dates_bytes_nested_types_and_params(echo: Pair, payload: Any):
    echo.check(payload)


UNSIGNED_PAYLOADS = {
    "split": {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [None, 2.5]]}},
    "records": {"dataframe_records": [{"a": 1}, {"b": [2]}]},
    "inputs list": {"inputs": [[1, 2], [3, 4]]},
    "inputs object": {"inputs": {"a": [1, 2], "b": [3.5, 4]}},
    "inputs text": {"inputs": "hello"},
    "instances": {"instances": [{"a": 1}, {"a": 2}]},
    "chat": {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5},
    "params": {"inputs": [1], "params": {"x": 1}},
}


@pytest.mark.parametrize("payload", UNSIGNED_PAYLOADS.values(), ids=UNSIGNED_PAYLOADS.keys())
def test_models_without_signature(unsigned: Pair, payload: Any):
    unsigned.check(payload)


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.integers(-100, 100),
    st.none(),
    st.booleans(),
)
TEXTS = st.one_of(st.sampled_from(["Bern", "Oslo", "Rome", "", "NA"]), st.text(max_size=8), st.none())
ANYTHING = st.one_of(NUMBERS, TEXTS, st.lists(st.integers(), max_size=2))
ORDINARY = st.tuples(
    st.one_of(st.floats(-1e6, 1e6), st.none()),
    st.floats(0, 1, width=32),
    st.integers(-1000, 1000),
    st.integers(-10, 10),
    st.booleans(),
    st.sampled_from(["Bern", "Oslo", "Rome", "Atlantis"]),
)
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(rows=st.lists(ORDINARY, min_size=1, max_size=5))
@SLOW
def test_any_ordinary_rows(mixed: Pair, rows: list[Any]):
    records = [dict(zip(NAMES, row, strict=True)) for row in rows]
    found = mixed.check(split(*map(list, rows)))
    assert found.status_code == 200
    assert mixed.check({"dataframe_records": records}).json() == found.json()
    mixed.check({"inputs": {name: [record[name] for record in records] for name in NAMES}})


@given(
    row=st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, ANYTHING, TEXTS),
    form=st.sampled_from(["split", "records", "instances"]),
)
@SLOW
def test_any_odd_row(mixed: Pair, row: tuple[Any, ...], form: str):
    if form == "split":
        mixed.check(split(list(row)))
    else:
        name = "dataframe_records" if form == "records" else form
        mixed.check({name: [dict(zip(NAMES, row, strict=True))]})


@given(rows=st.lists(st.lists(NUMBERS, min_size=2, max_size=4), min_size=0, max_size=3))
@SLOW
def test_any_tensor(tensor: Pair, rows: list[Any]):
    tensor.check({"inputs": rows})


FIELDS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.integers(-(2**65), 2**65).map(str),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=5),
    st.sampled_from(["True", "False", "NA", "nan", "Oslo", " 1", "1_000", "0x10", "1e5"]),
)


@given(fields=st.lists(FIELDS, min_size=6, max_size=6))
@SLOW
def test_any_csv_row(mixed: Pair, fields: list[str]):
    mixed.check(f"{HEAD}\n10.5,0.25,7,2,True,Oslo\n{','.join(fields)}\n".encode(), CSV)
