"""SageMaker's container contract, route by route."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import models
import pytest
from serving_process import RunningServer, serving

ROW = {"dataframe_split": {"columns": ["c0", "c1", "c2", "c3"], "data": [[0.1, 0.2, 0.3, 0.4]]}}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def test_ping_is_200_when_the_model_is_loaded(linear_server: RunningServer):
    assert linear_server.get("/ping").status_code == 200


def test_invocations_answer_with_predictions(linear_server: RunningServer):
    response = linear_server.invoke(ROW)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"predictions": [1]}


def test_csv_with_a_header_is_scored(linear_server: RunningServer):
    response = linear_server.invoke(b"c0,c1,c2,c3\n0.1,0.2,0.3,0.4\n-1,-1,-1,-1\n", "text/csv")
    assert (response.status_code, response.json()) == (200, {"predictions": [1, 0]})


def test_json_lines_in_and_out(linear_server: RunningServer):
    lines = b"[1,1,1,1]\n[-1,-1,-1,-1]\n"
    response = linear_server.invoke(lines, "application/jsonlines", accept="application/jsonlines")
    assert response.headers["content-type"] == "application/jsonlines"
    assert response.content == b"1\n0\n"
    records = b'{"c0":1,"c1":1,"c2":1,"c3":1}\n\n{"c0":-1,"c1":-1,"c2":-1,"c3":-1}'
    assert linear_server.invoke(records, "application/jsonlines").json() == {"predictions": [1, 0]}


def test_custom_attributes_come_back(linear_server: RunningServer):
    response = linear_server.invoke(ROW, **{ATTRIBUTES: "trace=7f"})
    assert response.headers[ATTRIBUTES] == "trace=7f"
    assert ATTRIBUTES not in linear_server.invoke(ROW).headers


def test_execution_parameters_fit_batch_transform(linear_server: RunningServer):
    parameters = linear_server.get("/execution-parameters").json()
    assert parameters["BatchStrategy"] == "MULTI_RECORD"
    assert parameters["MaxConcurrentTransforms"] * parameters["MaxPayloadInMB"] <= 100


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b"[1,2]", "application/json", 400),
        (b'{"rows": []}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"\xff\xfe", "text/csv", 400),
        (b"a,b\n1,2\n", "text/csv", 400),
        (b"<x/>", "text/xml", 415),
        (b"{}", "application/json; charset=latin-1", 415),
        (b"{}", "application/json; version=2", 415),
        (b'{"a":1}\n[1]', "application/jsonlines", 400),
    ],
)
def test_bad_input_is_refused_with_a_reason(linear_server: RunningServer, body: bytes, content_type: str, status: int):
    response = linear_server.invoke(body, content_type)
    assert response.status_code == status
    assert len(response.json()["message"]) > 10


def test_unknown_paths_and_methods(linear_server: RunningServer):
    assert linear_server.get("/nothing").status_code == 404
    response = linear_server.get("/invocations")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_bodies_over_the_limit_are_refused(linear_model: Path, tmp_path: Path):
    with serving(linear_model, tmp_path, SLIPWAY_MAX_PAYLOAD_MB="0.01") as server:
        assert server.invoke(b"x" * 20_000).status_code == 413
        assert server.invoke(ROW).status_code == 200


def test_metrics_count_requests_of_all_workers(linear_model: Path, tmp_path: Path):
    with serving(linear_model, tmp_path, MODEL_SERVER_WORKERS="2") as server:
        for _ in range(10):
            server.invoke(ROW)
        server.invoke(b"{")
        text = server.get("/metrics").text
        assert 'slipway_requests_total{status="200"} 10' in text
        assert 'slipway_requests_total{status="400"} 1' in text
        assert "slipway_request_seconds_count 11" in text


def test_each_request_is_one_line_of_json_in_the_log(linear_model: Path, tmp_path: Path):
    with serving(linear_model, tmp_path) as server:
        server.invoke(ROW)
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
        requests = [line for line in lines if line["event"] == "request" and line["path"] == "/invocations"]
        assert [(line["status"], line["method"]) for line in requests] == [(200, "POST")]


def test_a_model_that_cannot_be_loaded_ends_the_process_with_the_reason(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    with serving(tmp_path / "model", tmp_path, wait=False) as server:
        assert server.process.wait(60) == 3
        assert "cannot be served" in server.log.read_text()


def test_a_model_that_exits_while_it_loads_is_not_tried_again(tmp_path: Path):
    with serving(models.save_quitter(tmp_path / "model"), tmp_path, wait=False) as server:
        assert server.process.wait(60) == 3
        assert server.log.read_text().count("cannot be served") == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("MODEL_SERVER_WORKERS", "two"), ("SAGEMAKER_BIND_TO_PORT", "99999"), ("SLIPWAY_MODEL_DIR", "/nowhere")],
)
def test_settings_that_make_no_sense_are_refused(linear_model: Path, name: str, value: str):
    environment = {"SLIPWAY_MODEL_DIR": str(linear_model), name: value}
    command = [sys.executable, "-m", "slipway_serving", "serve"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert name in json.loads(done.stderr)["error"]


def test_golden_rows_that_do_not_agree_keep_the_container_unhealthy(linear_model: Path, tmp_path: Path):
    import shutil

    model = tmp_path / "model"
    shutil.copytree(linear_model, model)
    split = ROW["dataframe_split"]
    golden = {"columns": split["columns"], "rows": split["data"], "answers": [0]}
    (model / "golden.json").write_text(json.dumps(golden))
    with serving(model, tmp_path, wait=False) as server:
        _wait_until_listening(server)
        response = server.get("/ping")
        assert response.status_code == 503
        assert "expected 0, found 1" in response.json()["message"]
        assert server.invoke(ROW).status_code == 503


def _wait_until_listening(server: RunningServer) -> None:
    import time

    import httpx

    for _ in range(200):
        try:
            httpx.get(server.url + "/metrics", timeout=10)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(server.log.read_text())
