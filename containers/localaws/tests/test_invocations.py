"""InvokeEndpoint, captured data, journal and faults.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin import StandIn, wait_for, wait_status

pytestmark = pytest.mark.integration


@pytest.fixture
def runtime(aws: Any) -> Any:
    return aws("sagemaker-runtime")


def failure(runtime: Any, endpoint: str, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        runtime.invoke_endpoint(**{"EndpointName": endpoint, "Body": b"x", **parameters})
    return dict(caught.value.response)


def test_headers_and_bodies_pass_through(runtime: Any, hosted: Any, name: str) -> None:
    hosted({"main": (1.0, {"TAG": "t"})})
    answer = runtime.invoke_endpoint(EndpointName=name, Body=b"1,2\n3,4", ContentType="text/csv; charset=utf-8")
    said = json.loads(answer["Body"].read())
    assert (said["got"], said["content_type"]) == ("1,2\n3,4", "text/csv; charset=utf-8")
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/json", "main")
    big = bytes(5_000_000)
    assert len(json.loads(runtime.invoke_endpoint(EndpointName=name, Body=big)["Body"].read())["got"]) == 5_000_000


def test_the_container_sees_its_own_world_only(runtime: Any, hosted: Any, name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html"""
    hosted({"main": (1.0, {"TAG": "t", "DATA": "/opt/app"})})
    said = json.loads(runtime.invoke_endpoint(EndpointName=name, Body=b"")["Body"].read())
    environment = said["environment"]
    assert said["arguments"] == ["serve"]
    assert (environment["TAG"], environment["FROM_IMAGE"]) == ("t", "yes")
    assert environment["DATA"].endswith("/rootfs/opt/app"), "the model's environment wins over the image's"
    assert not [key for key in environment if "SECRET" in key or "TOKEN" in key or key == "PYTHONHOME"]
    assert not [place for place in said["path"] if ".venv" in place], "none of the project's packages"
    assert environment["AWS_REGION"] == "us-east-1"


@pytest.mark.parametrize(("status", "side"), [("400", "client"), ("500", "server"), ("503", "server")])
def test_a_models_error_is_a_model_error(runtime: Any, hosted: Any, name: str, status: str, side: str) -> None:
    hosted({"main": (1.0, {"STATUS": status})})
    response = failure(runtime, name)
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ModelError", 424)
    assert response["OriginalStatusCode"] == int(status)
    assert response["OriginalMessage"] == '{"error": "as told"}'
    assert f"Received {side} error ({status}) from primary" in response["Error"]["Message"]
    assert response["LogStreamArn"].startswith(
        "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/"
    )


def test_unknown_endpoints_and_variants(runtime: Any, hosted: Any, name: str) -> None:
    response = failure(runtime, "no-such-endpoint")
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("ValidationError", 400)
    assert response["Error"]["Message"] == "Endpoint no-such-endpoint of account 123456789012 not found."
    hosted({"main": (1.0, {})})
    assert failure(runtime, name, TargetVariant="other")["Error"]["Code"] == "ValidationError"


def capture_config(bucket: str, share: int = 100) -> dict[str, Any]:
    return {
        "EnableCapture": True, "InitialSamplingPercentage": share, "DestinationS3Uri": f"s3://{bucket}/captured/here",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    }  # fmt: skip


def captured(s3: Any, bucket: str) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
        lines = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read().decode().splitlines()
        found[each["Key"]] = [json.loads(line) for line in lines]
    return found


def test_requests_and_answers_are_captured(aws: Any, runtime: Any, hosted: Any, name: str) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket=name.lower())
    hosted({"main": (1.0, {})}, DataCaptureConfig=capture_config(name.lower()))
    described = aws("sagemaker").describe_endpoint(EndpointName=name)["DataCaptureConfig"]
    assert (described["CaptureStatus"], described["CurrentSamplingPercentage"]) == ("Started", 100)
    runtime.invoke_endpoint(EndpointName=name, Body=b"1,2", ContentType="text/csv", InferenceId="my-id")
    runtime.invoke_endpoint(EndpointName=name, Body=b'{"a": 1}', ContentType="application/json")
    runtime.invoke_endpoint(EndpointName=name, Body=b"\xff\x00", ContentType="application/x-npy")
    files = wait_for(lambda: (found := captured(s3, name.lower())) and sum(map(len, found.values())) == 3 and found)
    layout = rf"captured/here/{name}/main/\d{{4}}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{{3}}-[0-9a-f-]{{36}}\.jsonl"
    assert all(re.fullmatch(layout, key) for key in files), list(files)
    records = {line["captureData"]["endpointInput"]["encoding"]: line for lines in files.values() for line in lines}
    csv = records["CSV"]
    assert csv["captureData"]["endpointInput"] == {
        "observedContentType": "text/csv", "mode": "INPUT", "data": "1,2", "encoding": "CSV",
    }  # fmt: skip
    output = csv["captureData"]["endpointOutput"]
    assert (output["mode"], output["encoding"], output["observedContentType"]) == ("OUTPUT", "JSON", "application/json")
    assert json.loads(output["data"])["got"] == "1,2"
    assert (csv["eventVersion"], csv["eventMetadata"]["inferenceId"]) == ("0", "my-id")
    at = datetime.strptime(csv["eventMetadata"]["inferenceTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - at).total_seconds()) < 30
    assert base64.b64decode(records["BASE64"]["captureData"]["endpointInput"]["data"]) == b"\xff\x00"
    assert records["JSON"]["captureData"]["endpointInput"]["data"] == '{"a": 1}'


def test_a_share_of_the_requests_is_captured(aws: Any, runtime: Any, hosted: Any, name: str) -> None:
    s3 = aws("s3")
    s3.create_bucket(Bucket=name.lower())
    hosted({"main": (1.0, {})}, DataCaptureConfig=capture_config(name.lower(), share=20))
    for _ in range(200):
        runtime.invoke_endpoint(EndpointName=name, Body=b"x")
    time.sleep(1.5)
    count = sum(map(len, captured(s3, name.lower()).values()))
    assert 12 <= count <= 72, "binomial(200, 0.2) leaves this range once in a million runs"


# The journal


def test_the_journal_names_every_request(stand_in: StandIn, aws: Any, runtime: Any, hosted: Any, name: str) -> None:
    start = stand_in.get("/_localaws/journal")["next"]
    s3 = aws("s3")
    s3.create_bucket(Bucket=name.lower())
    s3.put_object(Bucket=name.lower(), Key="a/b", Body=b"12345")
    s3.copy_object(Bucket=name.lower(), Key="c", CopySource={"Bucket": name.lower(), "Key": "a/b"})
    s3.head_object(Bucket=name.lower(), Key="c")
    s3.delete_objects(Bucket=name.lower(), Delete={"Objects": [{"Key": "c"}]})
    hosted({"main": (1.0, {})})
    runtime.invoke_endpoint(EndpointName=name, Body=b"123")
    aws("sts").get_caller_identity()
    aws("sns").create_topic(Name=name)
    page = stand_in.get(f"/_localaws/journal?since={start}")
    entries = [each for each in page["entries"] if each["action"] != "DescribeEndpoint"]
    named = [(each["service"], each["action"], each["resource"], each["mutating"]) for each in entries]
    bucket = name.lower()
    assert named == [
        ("s3", "CreateBucket", bucket, True),
        ("s3", "PutObject", f"{bucket}/a/b", True),
        ("s3", "CopyObject", f"{bucket}/c", True),
        ("s3", "HeadObject", f"{bucket}/c", False),
        ("s3", "DeleteObjects", bucket, True),
        ("sagemaker", "CreateModel", f"{name}-1-main", True),
        ("sagemaker", "CreateEndpointConfig", f"{name}-1", True),
        ("sagemaker", "CreateEndpoint", name, True),
        ("sagemaker", "InvokeEndpoint", name, False),
        ("sts", "GetCallerIdentity", "", False),
        ("sns", "CreateTopic", name, True),
    ]
    assert [each["n"] for each in page["entries"]] == list(range(start, page["next"]))
    put = entries[1]
    assert (put["status"], put["request_bytes"]) == (200, 5)
    assert entries[8]["summary"]["variant"] == "main"
    assert stand_in.journal(start, action="PutObject") == [put]


def test_the_journal_names_failures(stand_in: StandIn, aws: Any) -> None:
    start = stand_in.get("/_localaws/journal")["next"]
    for call in (
        lambda: aws("s3").get_object(Bucket="no-such-bucket", Key="k"),
        lambda: aws("sagemaker").describe_endpoint(EndpointName="none"),
        lambda: aws("sagemaker").create_inference_component(InferenceComponentName="x"),
    ):
        with pytest.raises(ClientError):
            call()
    entries = stand_in.journal(start)
    assert [(each["status"], each["summary"]["error"]) for each in entries] == [
        (404, "NoSuchBucket"), (400, "ValidationException"), (501, "NotImplemented"),
    ]  # fmt: skip


def test_secrets_do_not_go_into_the_journal(stand_in: StandIn, aws: Any, name: str) -> None:
    aws("secretsmanager").create_secret(Name=name, SecretString="do-not-write-this-down")
    assert aws("secretsmanager").get_secret_value(SecretId=name)["SecretString"] == "do-not-write-this-down"
    time.sleep(0.5)
    assert "do-not-write-this-down" not in (stand_in.state / "journal.jsonl").read_text()


# Faults


def test_faults_on_api_calls(stand_in: StandIn, aws: Any) -> None:
    sagemaker, s3 = aws("sagemaker"), aws("s3")
    stand_in.faults(
        {"service": "sagemaker", "action": "Describe*", "effect": "throttle", "count": 1},
        {"service": "s3", "effect": "down", "count": 1},
        {"action": "ListModels", "effect": "error", "code": "ExpiredTokenException", "status": 400, "skip": 1},
    )  # fmt: skip
    with pytest.raises(ClientError) as caught:
        sagemaker.describe_endpoint(EndpointName="x")
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    with pytest.raises(ClientError) as caught:
        sagemaker.describe_endpoint(EndpointName="x")
    assert caught.value.response["Error"]["Code"] == "ValidationException", "once only"
    with pytest.raises(ClientError) as caught:
        s3.list_buckets()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    s3.list_buckets()
    sagemaker.list_models()
    with pytest.raises(ClientError) as caught:
        sagemaker.list_models()
    assert caught.value.response["Error"]["Code"] == "ExpiredTokenException"
    assert [rule["hits"] for rule in stand_in.get("/_localaws/faults")["rules"]] == [1, 1, 1]


def test_a_dropped_answer_leaves_the_work_done(stand_in: StandIn, aws: Any, name: str) -> None:
    stand_in.faults({"service": "s3", "action": "CreateBucket", "effect": "drop", "count": 1})
    with pytest.raises(ClientError) as caught:
        aws("s3").create_bucket(Bucket=name.lower())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert name.lower() in [each["Name"] for each in aws("s3").list_buckets()["Buckets"]]


def test_rules_that_make_no_sense_are_refused(stand_in: StandIn) -> None:
    import urllib.error

    for rule in ({"effect": "explode"}, {"effect": "error", "colour": "red"}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            stand_in.faults(rule)
        assert caught.value.code == 400


def test_faults_of_one_variant(stand_in: StandIn, runtime: Any, hosted: Any, name: str) -> None:
    hosted({"a": (1.0, {}), "b": (1.0, {})})
    stand_in.faults(
        {"endpoint": name, "variant": "b", "effect": "error", "status": 500, "message": "told to fail"},
        {"endpoint": name, "variant": "a", "effect": "latency", "latency_ms": 300},
    )
    response = failure(runtime, name, TargetVariant="b")
    assert (response["Error"]["Code"], response["OriginalMessage"]) == ("ModelError", "told to fail")
    started = time.monotonic()
    runtime.invoke_endpoint(EndpointName=name, Body=b"x", TargetVariant="a")
    assert time.monotonic() - started >= 0.3


def test_a_variant_told_what_to_answer(stand_in: StandIn, runtime: Any, hosted: Any, name: str) -> None:
    hosted({"a": (1.0, {}), "b": (1.0, {})})
    stand_in.faults({"endpoint": name, "variant": "b", "effect": "answer", "message": '{"predictions": [null]}'})
    wrong = runtime.invoke_endpoint(EndpointName=name, Body=b"x", TargetVariant="b")
    assert (wrong["ContentType"], wrong["Body"].read()) == ("application/json", b'{"predictions": [null]}')
    right = runtime.invoke_endpoint(EndpointName=name, Body=b"x", TargetVariant="a")
    assert b"predictions" not in right["Body"].read()


def test_an_endpoint_told_never_to_get_healthy(stand_in: StandIn, aws: Any, hosted: Any, name: str) -> None:
    stand_in.faults({"endpoint": name, "effect": "never_healthy"})
    hosted({"main": (1.0, {"TAG": "fine"})}, wait=False)
    assert "ping health check" in wait_status(aws("sagemaker"), name, "Failed")["FailureReason"]


def test_no_capacity(stand_in: StandIn, aws: Any, hosted: Any, name: str) -> None:
    stand_in.faults({"endpoint": name, "effect": "no_capacity", "count": 1})
    hosted({"main": (1.0, {})}, wait=False)
    assert "InsufficientInstanceCapacity" in wait_status(aws("sagemaker"), name, "Failed")["FailureReason"]


def test_a_silent_rollback(stand_in: StandIn, aws: Any, hosted: Any, config_of: Any, name: str) -> None:
    """InService again, on the old config, and no word of why."""
    sagemaker = aws("sagemaker")
    hosted({"main": (1.0, {})})
    config_of(f"{name}-2", {"main": (1.0, {})})
    stand_in.faults({"endpoint": name, "effect": "silent_rollback", "count": 1})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    described = wait_status(sagemaker, name, "InService")
    assert described["EndpointConfigName"] == f"{name}-1"
    assert "FailureReason" not in described


def test_a_rollback_that_fails(stand_in: StandIn, aws: Any, hosted: Any, config_of: Any, name: str) -> None:
    sagemaker = aws("sagemaker")
    hosted({"main": (1.0, {})})
    config_of(f"{name}-2", {"main": (1.0, {"EXIT": "1"})})
    stand_in.faults({"endpoint": name, "effect": "rollback_failed", "count": 1})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    assert wait_status(sagemaker, name, "UpdateRollbackFailed", seconds=15)["EndpointConfigName"] == f"{name}-1"
