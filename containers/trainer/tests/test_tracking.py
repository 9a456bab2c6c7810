"""Which failures of MLflow are outages, after which the training is tried again."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from slipway_trainer.tracking import is_outage


@pytest.fixture
def failure(monkeypatch):
    """What MLflow's client raises when a server answers so."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def ask(status: int, body: bytes) -> Exception:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(MlflowException) as caught:
                MlflowClient(f"http://127.0.0.1:{server.server_port}").get_experiment_by_name("x")
        finally:
            server.shutdown()
            server.server_close()
        return caught.value

    return ask


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"You are not authenticated.", False),
        (403, b"Permission denied", False),
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "odd"}', False),
        (429, b"slow down", True),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "boom"}', True),
        (503, b"<html>later</html>", True),
    ],
)
def test_a_refusal_is_no_outage(failure, status, body, expected):
    assert is_outage(failure(status, body)) is expected


def test_where_nobody_listens_is_an_outage(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Exception, match="failed with exception") as caught:
        MlflowClient("http://127.0.0.1:9").get_experiment_by_name("x")
    assert is_outage(caught.value)
