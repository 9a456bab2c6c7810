"""What a stop, a crash and a new start leave."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import tiny_image
from botocore.exceptions import ClientError
from standin import ROLE, StandIn, make_config, wait_for, wait_status

pytestmark = pytest.mark.integration


def fill(stand_in: StandIn) -> dict[str, Any]:
    """Something in every service that Slipway uses."""
    s3 = stand_in.client("s3")
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put_object(Bucket="kept", Key="a/b", Body=body, Metadata={"k": "v"})
    upload = s3.create_multipart_upload(Bucket="kept", Key="big")["UploadId"]
    part = s3.upload_part(Bucket="kept", Key="big", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    stand_in.client("sns").create_topic(Name="topic")
    queue = stand_in.client("sqs").create_queue(QueueName="queue")["QueueUrl"]
    stand_in.client("sqs").send_message(QueueUrl=queue, MessageBody="message")
    key = stand_in.client("kms").create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    stand_in.client("ssm").put_parameter(Name="/p", Value="v", Type="String")
    stand_in.client("secretsmanager").create_secret(Name="secret", SecretString="s")
    role = json.dumps({"Version": "2012-10-17", "Statement": []})
    stand_in.client("iam", checked=False).create_role(RoleName="slipway", AssumeRolePolicyDocument=role)
    stand_in.client("events").put_rule(Name="rule", EventPattern='{"source": ["aws.sagemaker"]}')
    stand_in.client("cloudwatch").put_metric_alarm(
        AlarmName="alarm", MetricName="m", Namespace="n", Statistic="Sum", Period=60, EvaluationPeriods=1, Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    return {"upload": upload, "part": part, "queue": queue, "key": key}


def check(stand_in: StandIn, made: dict[str, Any]) -> None:
    s3 = stand_in.client("s3")
    assert s3.get_object(Bucket="kept", Key="a/b")["Body"].read() == b"second"
    versions = s3.list_object_versions(Bucket="kept")["Versions"]
    bodies = {s3.get_object(Bucket="kept", Key="a/b", VersionId=each["VersionId"])["Body"].read() for each in versions}
    assert bodies == {b"first", b"second"}
    assert s3.head_object(Bucket="kept", Key="a/b")["Metadata"] == {"k": "v"}
    assert stand_in.client("sns").list_topics()["Topics"][0]["TopicArn"].endswith(":topic")
    (message,) = stand_in.client("sqs").receive_message(QueueUrl=made["queue"])["Messages"]
    assert message["Body"] == "message"
    signed = stand_in.client("kms").sign(
        KeyId=made["key"], Message=b"x", MessageType="RAW", SigningAlgorithm="RSASSA_PSS_SHA_256"
    )
    assert signed["Signature"]
    assert stand_in.client("ssm").get_parameter(Name="/p")["Parameter"]["Value"] == "v"
    assert stand_in.client("secretsmanager").get_secret_value(SecretId="secret")["SecretString"] == "s"
    assert stand_in.client("iam", checked=False).get_role(RoleName="slipway")["Role"]["RoleName"] == "slipway"
    assert stand_in.client("events").describe_rule(Name="rule")["State"] == "ENABLED"
    assert stand_in.client("cloudwatch").describe_alarms()["MetricAlarms"][0]["AlarmName"] == "alarm"
    parts = {"Parts": [{"PartNumber": 1, "ETag": made["part"]}]}
    s3.complete_multipart_upload(Bucket="kept", Key="big", UploadId=made["upload"], MultipartUpload=parts)
    assert s3.get_object(Bucket="kept", Key="big")["Body"].read() == b"part"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "crashed"])
def test_services_come_back(own_stand_in: StandIn, number: int) -> None:
    made = fill(own_stand_in.start())
    if number == signal.SIGKILL:
        wait_for(lambda: not own_stand_in.get("/_localaws/health")["unsaved"])  # a crash may lose the last second
    own_stand_in.stop(number)
    check(own_stand_in.start(), made)
    assert "is not kept over restarts" not in (own_stand_in.state / "server.log").read_text()


def test_endpoints_are_hosted_again_and_failed_ones_stay_failed(own_stand_in: StandIn) -> None:
    own_stand_in.start()
    sagemaker = own_stand_in.client("sagemaker")
    uri = tiny_image.push(own_stand_in.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")
    config = make_config(sagemaker, "good", {"a": (3.0, {"TAG": "a"}), "b": (0.0, {"TAG": "b"})}, uri)
    sick = make_config(sagemaker, "sick", {"main": (1.0, {"EXIT": "1"})}, uri)
    sagemaker.create_endpoint(EndpointName="good", EndpointConfigName=config, Tags=[{"Key": "k", "Value": "v"}])
    sagemaker.create_endpoint(EndpointName="sick", EndpointConfigName=sick)
    wait_status(sagemaker, "good", "InService")
    wait_status(sagemaker, "sick", "Failed")
    wanted = [{"VariantName": "b", "DesiredWeight": 5.0, "DesiredInstanceCount": 2}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="good", DesiredWeightsAndCapacities=wanted)
    before = wait_status(sagemaker, "good", "InService")
    journal = own_stand_in.get("/_localaws/journal")["next"]
    own_stand_in.stop()
    own_stand_in.start()
    sagemaker, runtime = own_stand_in.client("sagemaker"), own_stand_in.client("sagemaker-runtime")
    after = sagemaker.describe_endpoint(EndpointName="good")
    assert {key: after[key] for key in after if key != "ResponseMetadata"} == {
        key: before[key] for key in before if key != "ResponseMetadata"
    }

    def tag() -> str:
        answer = runtime.invoke_endpoint(EndpointName="good", Body=b"", TargetVariant="b")
        return str(json.loads(answer["Body"].read())["tag"])

    deadline = time.monotonic() + 10
    while True:
        try:
            assert tag() == "b"
            break
        except ClientError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert sagemaker.describe_endpoint(EndpointName="sick")["EndpointStatus"] == "Failed"
    arn = after["EndpointArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    assert own_stand_in.get("/_localaws/journal")["next"] > journal
    images = own_stand_in.client("ecr").describe_images(repositoryName="slipway/tiny")["imageDetails"]
    assert images[0]["imageTags"] == ["v1"]
    assert sagemaker.describe_model(ModelName="good-a")["ExecutionRoleArn"] == ROLE


@pytest.mark.long
def test_what_sagemaker_said_yes_to_outlives_a_crash_in_that_moment(own_stand_in: StandIn) -> None:
    own_stand_in.start()
    uri = tiny_image.push(own_stand_in.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")
    sagemaker = own_stand_in.client("sagemaker")
    for number in range(3):
        config = make_config(sagemaker, f"at-once-{number}", {"main": (1.0, {})}, uri)
        sagemaker.create_endpoint(EndpointName=f"at-once-{number}", EndpointConfigName=config)
        own_stand_in.stop(signal.SIGKILL)
        own_stand_in.start()
        sagemaker = own_stand_in.client("sagemaker")
        assert sagemaker.describe_endpoint(EndpointName=f"at-once-{number}")["EndpointStatus"] != "Failed"


def test_a_stop_while_an_endpoint_is_being_created_does_not_wait_for_ever(own_stand_in: StandIn) -> None:
    own_stand_in.start()
    uri = tiny_image.push(own_stand_in.client("ecr"), tiny_image.build(), "slipway/tiny", "v1")
    sagemaker = own_stand_in.client("sagemaker")
    config = make_config(sagemaker, "halfway", {"main": (1.0, {})}, uri)
    sagemaker.create_endpoint(EndpointName="halfway", EndpointConfigName=config)
    own_stand_in.stop()  # raises when it takes too long
    assert own_stand_in.process is not None
    assert own_stand_in.process.returncode is not None
    own_stand_in.start()
    assert wait_status(own_stand_in.client("sagemaker"), "halfway", "InService")["EndpointConfigName"] == config


def test_a_state_that_cannot_be_read_is_set_aside(own_stand_in: StandIn) -> None:
    own_stand_in.start()
    own_stand_in.client("sns").create_topic(Name="topic")
    own_stand_in.client("s3").create_bucket(Bucket="kept")
    own_stand_in.stop()
    (own_stand_in.state / "backends" / "sns.pickle").write_bytes(b"not a pickle")
    own_stand_in.start()
    assert own_stand_in.client("sns").list_topics()["Topics"] == []
    assert [each["Name"] for each in own_stand_in.client("s3").list_buckets()["Buckets"]] == ["kept"]
    assert (own_stand_in.state / "backends" / "sns.unreadable").read_bytes() == b"not a pickle"


def test_bodies_that_nobody_refers_to_are_swept(tmp_path: Any) -> None:
    import os

    from slipway_localaws.persistence.object_bodies import sweep

    for name, age in (("aaold", 100), ("aaused", 100), ("aayoung", 0)):
        path = tmp_path / "aa" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    assert sweep(tmp_path, {"aaused"}) == 1
    assert sorted(path.name for path in tmp_path.glob("??/*")) == ["aaused", "aayoung"]


def test_one_server_a_folder_and_one_a_port(own_stand_in: StandIn, tmp_path: Any) -> None:
    own_stand_in.start()
    for port, state, words in (
        (own_stand_in.port + 700, own_stand_in.state, "is in use by process"),
        (own_stand_in.port, tmp_path / "other", "cannot listen on 127.0.0.1"),
    ):
        command = [sys.executable, "-m", "slipway_localaws", "--port", str(port), "--state", str(state)]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert answer.returncode == 1
        assert words in answer.stderr.splitlines()[-1]
