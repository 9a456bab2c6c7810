"""An AWS stand-in and a task context for operators that are run for real."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from airflow.sdk.api.datamodels._generated import DagRunType
from moto.server import ThreadedMotoServer

from slipway.platform import Platform
from slipway.spec import ServiceSpec

REGION = "eu-central-1"
ACCOUNT = "123456789012"
BUCKET = f"slipway-{ACCOUNT}-{REGION}"


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """An empty AWS with the artifact bucket, the connection ``aws_default`` to it, and plain clients to look at it."""
    extra = {"region_name": REGION, "endpoint_url": aws_server}
    connection = {"conn_type": "aws", "login": "testing", "password": "testing-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    session = boto3.session.Session("testing", "testing-secret", region_name=REGION)

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=aws_server)

    import requests

    requests.post(f"{aws_server}/moto-api/reset", timeout=10).raise_for_status()
    client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return client


@pytest.fixture
def spec() -> ServiceSpec:
    return ServiceSpec.model_validate(
        {
            "name": "flights",
            "model": "flights-delay",
            "owner": "team@example.com",
            "approval": {"approver_ids": ["ann", "bob"], "timeout_hours": 2},
        }
    )


@pytest.fixture
def platform() -> Platform:
    return Platform.model_validate({"execution_role": "slipway-endpoint", "base_images": {"3.11": "scratch"}})


class OutletEvents(dict[Any, SimpleNamespace]):
    """What Airflow keeps for each outlet while a task runs."""

    def __missing__(self, asset: Any) -> SimpleNamespace:
        self[asset] = SimpleNamespace(extra={})
        return self[asset]


@pytest.fixture
def context() -> Callable[..., Any]:
    """Build the part of Airflow's task context that the operators read."""

    def build(task_id: str = "task", *, run_id: str = "manual__1", user: str | None = "carol", **params: Any) -> Any:
        instance = SimpleNamespace(dag_id="flights.deploy", run_id=run_id, task_id=task_id, id=f"{run_id}/{task_id}")
        run_type = DagRunType.MANUAL if user else DagRunType.ASSET_TRIGGERED
        return {
            "ti": instance,
            "task_instance": instance,
            "run_id": run_id,
            "dag_run": SimpleNamespace(
                conf=params,
                triggering_user_name=user,
                run_type=run_type,
                run_id=run_id,
                start_date=datetime.now(UTC),
            ),
            "params": params,
            "outlet_events": OutletEvents(),
        }

    return build
