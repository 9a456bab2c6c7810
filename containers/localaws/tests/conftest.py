from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_image
from standin import StandIn, make_config, wait_status

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """One server for all tests that neither kill nor restart it."""
    server = StandIn(tmp_path_factory.mktemp("localaws"), "--transition-seconds", "0.3", "--max-startup-seconds", "60")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def own_stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """A server of the test's own, to be killed and started again."""
    server = StandIn(tmp_path / "state", "--transition-seconds", "0.3", "--max-startup-seconds", "60")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(autouse=True)
def _no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "stand_in" in request.fixturenames:
        request.getfixturevalue("stand_in").faults()


@pytest.fixture
def aws(stand_in: StandIn) -> Any:
    """Makes clients of the shared server, whose answers are checked against botocore's models."""
    return stand_in.client


@pytest.fixture(scope="session")
def image_uri(stand_in: StandIn) -> str:
    """The tiny image, pushed."""
    return tiny_image.push(stand_in.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that belongs to this test."""
    return re.sub(r"[^A-Za-z0-9]+", "-", request.node.name.removeprefix("test_"))[:50].strip("-")


@pytest.fixture
def hosted(aws: Any, image_uri: str, name: str) -> Any:
    """Makes an endpoint from ``{variant: (weight, environment)}`` and waits until it is in service."""
    sagemaker = aws("sagemaker")

    def make(
        variants: dict[str, tuple[float, dict[str, str]]], *, image: str = image_uri, wait: bool = True, **config: Any
    ) -> str:
        config_name = make_config(sagemaker, f"{name}-1", variants, image, **config)
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config_name)
        if wait:
            described = wait_status(sagemaker, name, "InService", "Failed")
            assert described["EndpointStatus"] == "InService", described
        return name

    yield make
    if any(each["EndpointName"] == name for each in sagemaker.list_endpoints(NameContains=name)["Endpoints"]):
        wait_status(sagemaker, name, "InService", "Failed", "UpdateRollbackFailed")
        sagemaker.delete_endpoint(EndpointName=name)


@pytest.fixture
def config_of(aws: Any, image_uri: str) -> Any:
    """Makes an endpoint config."""

    def make(config_name: str, variants: dict[str, tuple[float, dict[str, str]]], **config: Any) -> str:
        return make_config(aws("sagemaker"), config_name, variants, image_uri, **config)

    return make


@pytest.fixture
def ask(aws: Any) -> Any:
    """Invokes an endpoint and returns what the tiny server said, with the variant that answered."""
    runtime = aws("sagemaker-runtime", max_pool_connections=8)

    def invoke(endpoint: str, body: bytes = b"{}", **more: Any) -> dict[str, Any]:
        answer = runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **more)
        return {**json.loads(answer["Body"].read()), "variant": answer["InvokedProductionVariant"]}

    return invoke
