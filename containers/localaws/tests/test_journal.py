"""Names of requests, the journal's file, and the rules of faults, without a server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from slipway_localaws.aws_protocol import Call, is_mutating, name_call
from slipway_localaws.faults import Faults
from slipway_localaws.journal import Journal


def request(method: str, path: str, service: str, body: bytes = b"", **variables: str) -> dict[str, Any]:
    path, _, query = path.partition("?")
    credential = f"AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/{service}/aws4_request"
    return {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body), "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={credential}, x",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http", **variables,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "action", "resource"),
    [
        ("GET", "/", "ListBuckets", ""),
        ("PUT", "/b", "CreateBucket", "b"),
        ("HEAD", "/b", "HeadBucket", "b"),
        ("DELETE", "/b", "DeleteBucket", "b"),
        ("GET", "/b?list-type=2&prefix=x", "ListObjectsV2", "b"),
        ("GET", "/b?versions", "ListObjectVersions", "b"),
        ("GET", "/b?uploads", "ListMultipartUploads", "b"),
        ("PUT", "/b?lifecycle", "PutBucketLifecycleConfiguration", "b"),
        ("GET", "/b?publicAccessBlock", "GetPublicAccessBlock", "b"),
        ("POST", "/b?delete", "DeleteObjects", "b"),
        ("GET", "/b/k/x", "GetObject", "b/k/x"),
        ("HEAD", "/b/k", "HeadObject", "b/k"),
        ("PUT", "/b/k", "PutObject", "b/k"),
        ("DELETE", "/b/k", "DeleteObject", "b/k"),
        ("PUT", "/b/k?tagging", "PutObjectTagging", "b/k"),
        ("POST", "/b/k?uploads", "CreateMultipartUpload", "b/k"),
        ("PUT", "/b/k?uploadId=u&partNumber=1", "UploadPart", "b/k"),
        ("GET", "/b/k?uploadId=u", "ListParts", "b/k"),
        ("POST", "/b/k?uploadId=u", "CompleteMultipartUpload", "b/k"),
        ("DELETE", "/b/k?uploadId=u", "AbortMultipartUpload", "b/k"),
    ],
)
def test_names_of_s3_requests(method: str, path: str, action: str, resource: str) -> None:
    call = name_call(request(method, path, "s3"))
    assert (call.service, call.action, call.resource, call.region) == ("s3", action, resource, "eu-west-1")


def test_copies_are_told_from_uploads() -> None:
    source = {"HTTP_X_AMZ_COPY_SOURCE": "a/b"}
    assert name_call(request("PUT", "/b/k", "s3", **source)).action == "CopyObject"
    assert name_call(request("PUT", "/b/k?uploadId=u&partNumber=1", "s3", **source)).action == "UploadPartCopy"


@pytest.mark.parametrize(
    ("target", "parameters", "resource"),
    [
        ("SageMaker.CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}, "e"),
        ("SageMaker.CreateEndpointConfig", {"EndpointConfigName": "c"}, "c"),
        ("SageMaker.UpdateEndpointWeightsAndCapacities", {"EndpointName": "e"}, "e"),
        ("AmazonEC2ContainerRegistry_V20150921.DescribeImages", {"repositoryName": "r"}, "r"),
        ("Logs_20140328.GetLogEvents", {"logGroupName": "g", "logStreamName": "s"}, "g"),
        ("SageMaker.ListEndpoints", {}, ""),
    ],
)
def test_names_of_json_requests(target: str, parameters: dict[str, str], resource: str) -> None:
    environ = request("POST", "/", "sagemaker", json.dumps(parameters).encode(), HTTP_X_AMZ_TARGET=target)
    call = name_call(environ)
    assert (call.action, call.resource, call.protocol) == (target.rpartition(".")[2], resource, "json")
    assert json.loads(environ["wsgi.input"].read()) == parameters, "the body is left in place"


def test_names_of_query_and_rest_requests() -> None:
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"}
    call = name_call(request("POST", "/", "sns", b"Action=Publish&TopicArn=t&Message=m&Version=1", **form))
    assert (call.service, call.action, call.resource, call.protocol) == ("sns", "Publish", "t", "query")
    assert name_call(request("GET", "/2015-03-31/functions/", "lambda")).action == "ListFunctions"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("CreateEndpoint", True), ("PutObject", True), ("BatchDeleteImage", True), ("StartImageScan", True),
        ("UpdateEndpoint", True), ("AddTags", True), ("SetAlarmState", True), ("RegisterScalableTarget", True),
        ("PutBlob", True), ("StartBlobUpload", True), ("DescribeEndpoint", False), ("GetObject", False),
        ("HeadBlob", False), ("BatchGetImage", False), ("BatchCheckLayerAvailability", False), ("ListTags", False),
        ("InvokeEndpoint", False), ("AssumeRole", False), ("Decrypt", False), ("CheckVersion", False),
        ("ReceiveMessage", False), ("DeleteMessage", True),
    ],
)  # fmt: skip
def test_what_changes_something(action: str, expected: bool) -> None:
    assert is_mutating(action) is expected


def record(journal: Journal, *resources: str) -> None:
    for resource in resources:
        journal.record(Call("s3", "PutObject", resource), 200, 1)


def test_numbering_goes_on_after_a_restart_and_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    record(journal, "a", "b")
    journal.close()
    with path.open("a") as file:
        file.write('{"n": 3, "time": "cut sho')
    again = Journal(path)
    record(again, "c")
    page = again.since(0)
    assert [(each["n"], each["resource"]) for each in page["entries"]] == [(1, "a"), (2, "b"), (3, "c")]
    assert page["next"] == 4
    again.close()
    assert [json.loads(line)["n"] for line in path.read_text().splitlines() if line.endswith("}")] == [1, 2, 3]


def test_old_entries_come_from_the_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", window=3)
    record(journal, *"abcdefgh")
    assert [each["resource"] for each in journal.since(2)["entries"]] == list("bcdefgh")
    assert [each["resource"] for each in journal.since(7)["entries"]] == ["g", "h"]
    assert journal.since(100)["entries"] == []
    assert [each["resource"] for each in journal.since(0, resource="c")["entries"]] == ["c"]
    journal.close()


def test_a_file_that_is_too_long_is_turned_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", window=2, max_bytes=300)
    for resource in "abcdef":
        record(journal, resource)
        journal.flush()
    assert (tmp_path / "journal.1.jsonl").exists()
    assert journal.since(0)["entries"][-1]["resource"] == "f"
    journal.close()


def test_rules_count_skip_and_match() -> None:
    faults = Faults()
    faults.replace([{"effect": "error", "service": "s3", "action": "Put*", "count": 2, "skip": 1}])
    hits = [faults.hit(("error",), service="s3", action="PutObject") is not None for _ in range(5)]
    assert hits == [False, True, True, False, False]
    assert faults.hit(("error",), service="s3", action="GetObject") is None
    assert faults.hit(("latency",), service="s3", action="PutObject") is None
    faults.replace([{"effect": "never-healthy", "variant": "b*"}])
    assert faults.hit(("never_healthy",), endpoint="e", variant="beta")
    faults.replace([{"effect": "error", "probability": 0.0}])
    assert faults.hit(("error",), service="s3") is None
