"""The life of an endpoint.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html (statuses)
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpointWeightsAndCapacities.html
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest
import tiny_image
from botocore.exceptions import ClientError
from standin import StandIn, log_lines, refused, status_of, wait_for, wait_status

pytestmark = pytest.mark.integration


@pytest.fixture
def sagemaker(aws: Any) -> Any:
    return aws("sagemaker")


def weights(sagemaker: Any, endpoint: str) -> dict[str, tuple[float, float, int, int]]:
    variants = sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    return {
        each["VariantName"]: (
            each["CurrentWeight"], each["DesiredWeight"], each["CurrentInstanceCount"], each["DesiredInstanceCount"],
        )
        for each in variants
    }  # fmt: skip


def test_from_creating_to_in_service_to_gone(sagemaker: Any, hosted: Any, ask: Any, name: str, image_uri: str) -> None:
    hosted({"main": (1.0, {"TAG": "one"})}, wait=False)
    described = sagemaker.describe_endpoint(EndpointName=name)
    assert described["EndpointStatus"] == "Creating"
    assert described["EndpointArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{name}"
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    described = sagemaker.describe_endpoint(EndpointName=name)
    assert described["EndpointConfigName"] == f"{name}-1"
    (image,) = described["ProductionVariants"][0]["DeployedImages"]
    assert image["SpecifiedImage"] == image["ResolvedImage"] == image_uri
    assert ask(name)["tag"] == "one"
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    refused(sagemaker.describe_endpoint, "Could not find endpoint", EndpointName=name)
    refused(sagemaker.delete_endpoint, "Could not find endpoint", EndpointName=name)


def test_names_configs_and_double_work(sagemaker: Any, hosted: Any, name: str) -> None:
    refused(
        sagemaker.create_endpoint, "Could not find endpoint configuration", EndpointName=name, EndpointConfigName="x"
    )
    hosted({"main": (1.0, {})})
    refused(
        sagemaker.create_endpoint, "Cannot create already existing endpoint",
        EndpointName=name, EndpointConfigName=f"{name}-1",
    )  # fmt: skip
    refused(sagemaker.update_endpoint, "Could not find", EndpointName=name, EndpointConfigName="none")
    refused(sagemaker.update_endpoint, "Could not find endpoint", EndpointName="none", EndpointConfigName=f"{name}-1")
    listed = sagemaker.list_endpoints(NameContains=name, StatusEquals="InService")["Endpoints"]
    assert [each["EndpointName"] for each in listed] == [name]


def test_an_image_that_cannot_start_says_why(sagemaker: Any, aws: Any, hosted: Any, name: str) -> None:
    image = tiny_image.build(Labels={"io.slipway.python": "3.99"}, Entrypoint=["python3", "-m", "tiny_server"])
    uri = tiny_image.push(aws("ecr"), image, "slipway/future", "v1")
    hosted({"main": (1.0, {})}, image=uri, wait=False)
    described = wait_status(sagemaker, name, "Failed")
    assert "CannotStartContainerError" in described["FailureReason"]
    assert "3.99" in described["FailureReason"]


def test_an_update_serves_from_the_old_fleet_until_the_new_one_is_healthy(
    sagemaker: Any, hosted: Any, config_of: Any, ask: Any, name: str
) -> None:
    hosted({"main": (1.0, {"TAG": "old"})})
    before = ask(name)["pid"]
    config_of(f"{name}-2", {"main": (1.0, {"TAG": "new"})})
    seen: list[str] = []
    failures: list[Exception] = []
    stop = threading.Event()

    def drive() -> None:
        while not stop.is_set():
            try:
                seen.append(ask(name)["tag"])
            except Exception as error:
                failures.append(error)

    driver = threading.Thread(target=drive)
    driver.start()
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    described = sagemaker.describe_endpoint(EndpointName=name)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("Updating", f"{name}-1")
    assert described["PendingDeploymentSummary"]["EndpointConfigName"] == f"{name}-2"
    refused(
        sagemaker.update_endpoint, "Cannot update in-progress endpoint",
        EndpointName=name, EndpointConfigName=f"{name}-2",
    )  # fmt: skip
    refused(sagemaker.delete_endpoint, "Cannot update in-progress endpoint", EndpointName=name)
    described = wait_status(sagemaker, name, "InService")
    time.sleep(0.3)
    stop.set()
    driver.join()
    assert described["EndpointConfigName"] == f"{name}-2"
    assert "PendingDeploymentSummary" not in described
    assert failures == []
    assert seen == sorted(seen, reverse=True), "old answers, then new ones"
    assert set(seen) == {"old", "new"}
    wait_for(lambda: not _alive(before))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_update_moves_all_variants_to_a_new_fleet(
    sagemaker: Any, hosted: Any, config_of: Any, ask: Any, name: str
) -> None:
    hosted({"a": (1.0, {"TAG": "a"}), "b": (0.0, {"TAG": "b"})})
    before = {each: ask(name, TargetVariant=each)["pid"] for each in "ab"}
    config_of(f"{name}-2", {"a": (1.0, {"TAG": "a"}), "c": (0.0, {"TAG": "c"})})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    wait_status(sagemaker, name, "InService")
    assert set(weights(sagemaker, name)) == {"a", "c"}
    assert ask(name, TargetVariant="a")["pid"] != before["a"]


def test_an_update_needs_the_old_config(sagemaker: Any, hosted: Any, config_of: Any, name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html"""
    hosted({"main": (1.0, {})})
    config_of(f"{name}-2", {"main": (1.0, {})})
    sagemaker.delete_endpoint_config(EndpointConfigName=f"{name}-1")
    refused(
        sagemaker.update_endpoint, "Could not find endpoint configuration", f"{name}-1",
        EndpointName=name, EndpointConfigName=f"{name}-2",
    )  # fmt: skip


def test_properties_are_retained_when_asked(sagemaker: Any, hosted: Any, config_of: Any, name: str) -> None:
    hosted({"main": (1.0, {})})
    wanted = [{"VariantName": "main", "DesiredWeight": 7.0, "DesiredInstanceCount": 3}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)
    wait_status(sagemaker, name, "InService")
    config_of(f"{name}-2", {"main": (1.0, {})})
    sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=f"{name}-2", RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}],
    )  # fmt: skip
    wait_status(sagemaker, name, "InService")
    assert weights(sagemaker, name) == {"main": (1.0, 1.0, 3, 3)}


def test_weights_and_capacities_that_are_left_out_stay(sagemaker: Any, hosted: Any, name: str) -> None:
    hosted({"a": (3.0, {}), "b": (0.0, {})})
    assert weights(sagemaker, name) == {"a": (3.0, 3.0, 1, 1), "b": (0.0, 0.0, 1, 1)}
    change = sagemaker.update_endpoint_weights_and_capacities
    change(EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "b", "DesiredWeight": 1.0}])
    assert status_of(sagemaker, name) == "Updating"
    assert weights(sagemaker, name)["b"] == (0.0, 1.0, 1, 1)
    refused(change, "in-progress", EndpointName=name,
            DesiredWeightsAndCapacities=[{"VariantName": "b", "DesiredWeight": 2.0}])  # fmt: skip
    wait_status(sagemaker, name, "InService")
    change(EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "a", "DesiredInstanceCount": 4}])
    wait_status(sagemaker, name, "InService")
    assert weights(sagemaker, name) == {"a": (3.0, 3.0, 4, 4), "b": (1.0, 1.0, 1, 1)}
    refused(change, "not present within endpoint configuration", EndpointName=name,
            DesiredWeightsAndCapacities=[{"VariantName": "c", "DesiredWeight": 1.0}])  # fmt: skip


def test_traffic_follows_the_weights(sagemaker: Any, hosted: Any, ask: Any, name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/model-ab-testing.html"""
    hosted({"a": (9.0, {"TAG": "a"}), "b": (1.0, {"TAG": "b"}), "c": (0.0, {"TAG": "c"})})
    seen = Counter(ask(name)["variant"] for _ in range(300))
    assert set(seen) == {"a", "b"}
    assert 8 <= seen["b"] <= 58, "binomial(300, 0.1) leaves this range once in a million runs"
    assert {ask(name, TargetVariant="c")["tag"] for _ in range(3)} == {"c"}


def test_a_crashed_container_is_started_again(aws: Any, hosted: Any, ask: Any, name: str) -> None:
    hosted({"main": (1.0, {"CRASH_ON": "please crash"})})
    before = ask(name)["pid"]
    with pytest.raises(ClientError):
        aws("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"please crash")

    def answered() -> Any:
        try:
            return ask(name)["pid"]
        except ClientError:
            return None

    after = wait_for(answered)
    assert after != before
    wait_for(lambda: any("exit code 3" in line for line in log_lines(aws, name)))


def test_deleting_stops_the_processes(sagemaker: Any, hosted: Any, ask: Any, name: str) -> None:
    hosted({"main": (1.0, {})})
    pid = ask(name)["pid"]
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    assert not _alive(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_container_outlives_the_server(own_stand_in: StandIn, number: int) -> None:
    own_stand_in.start()
    uri = tiny_image.push(own_stand_in.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")
    sagemaker = own_stand_in.client("sagemaker")
    pid = _host(own_stand_in, sagemaker, uri)
    own_stand_in.stop(number)
    wait_for(lambda: not _alive(pid))


def _host(stand_in: StandIn, sagemaker: Any, uri: str) -> int:
    from standin import make_config

    config = make_config(sagemaker, "c", {"main": (1.0, {"TAG": "kept"})}, uri)
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName=config)
    wait_status(sagemaker, "e", "InService")
    answer = stand_in.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"")
    return int(json.loads(answer["Body"].read())["pid"])
