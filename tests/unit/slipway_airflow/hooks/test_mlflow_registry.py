from __future__ import annotations

import json
import os
from typing import Any

import pytest

from slipway_airflow.hooks.mlflow_registry import MlflowRegistryHook


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> MlflowRegistryHook:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "http", **fields}))
    return MlflowRegistryHook()


@pytest.mark.parametrize(
    ("fields", "uri"),
    [
        ({"host": "mlflow", "port": 5000}, "http://mlflow:5000"),
        ({"host": "mlflow.example.com", "schema": "https"}, "https://mlflow.example.com"),
        ({"host": "https://mlflow.example.com/"}, "https://mlflow.example.com"),
        ({"host": "mlflow", "port": 80, "extra": {"path": "/tracking/"}}, "http://mlflow:80/tracking"),
    ],
)
def test_the_connection_gives_the_address(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], uri: str) -> None:
    assert connect(monkeypatch, **fields).tracking_uri == uri


def test_credentials_reach_the_client_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, host="127.0.0.1", port=1, login="ann", password="open-sesame")
    client = hook.get_conn()
    credentials = client._get_registry_client().store.get_host_creds()
    assert (credentials.host, credentials.username, credentials.password) == (hook.tracking_uri, "ann", "open-sesame")
    assert client._tracking_client.store.get_host_creds() is credentials
    assert "open-sesame" not in hook.tracking_uri
    assert "open-sesame" not in os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    assert [name for name, value in os.environ.items() if "sesame" in value] == ["AIRFLOW_CONN_MLFLOW_DEFAULT"]


def test_a_token_and_a_ca_bundle_come_from_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, host="127.0.0.1", port=2, extra={"token": "t0ken-of-ours", "verify": "/etc/ca.pem"})
    credentials = hook.client._get_registry_client().store.get_host_creds()
    assert credentials.token == "t0ken-of-ours"
    assert credentials.server_cert_path == "/etc/ca.pem"
    assert credentials.ignore_tls_verification is False
