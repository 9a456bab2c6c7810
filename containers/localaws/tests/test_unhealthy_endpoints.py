"""Endpoints that do not get healthy, on a server that gives up after a few seconds.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html (ping requests)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tiny_image
from botocore.exceptions import ClientError
from standin import StandIn, log_lines, refused, wait_status

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    server = StandIn(tmp_path_factory.mktemp("impatient"), "--transition-seconds", "0.3", "--max-startup-seconds", "8")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def image_uri(stand_in: StandIn) -> str:
    return tiny_image.push(stand_in.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")


@pytest.fixture
def sagemaker(aws: Any) -> Any:
    return aws("sagemaker")


@pytest.mark.parametrize(
    ("environment", "log"), [({"PING_STATUS": "500"}, "serving"), ({"EXIT": "3"}, "serving")], ids=["ping", "exit"]
)
def test_an_endpoint_that_never_gets_healthy_fails(
    sagemaker: Any, aws: Any, hosted: Any, name: str, environment: dict[str, str], log: str
) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html"""
    hosted({"main": (1.0, {"TAG": "sick", **environment})}, wait=False)
    described = wait_status(sagemaker, name, "Failed")
    assert "did not pass the ping health check" in described["FailureReason"]
    refused(sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=f"{name}-1")
    with pytest.raises(ClientError) as caught:
        aws("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"")
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert f"{log} sick" in " ".join(log_lines(aws, name))


def test_a_failed_update_leaves_the_old_config_in_service(
    sagemaker: Any, hosted: Any, config_of: Any, ask: Any, name: str
) -> None:
    hosted({"main": (1.0, {"TAG": "old"})})
    config_of(f"{name}-2", {"main": (1.0, {"PING_STATUS": "500"})})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    described = wait_status(sagemaker, name, "InService")
    assert described["EndpointConfigName"] == f"{name}-1"
    assert "ping health check" in described["FailureReason"]
    assert ask(name)["tag"] == "old"
