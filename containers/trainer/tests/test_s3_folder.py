"""Folders in S3, as boto3 and moto have them."""

from __future__ import annotations

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from slipway_trainer.problem import TrainingError, UnavailableError
from slipway_trainer.s3_folder import S3Folder
from slipway_trainer.spark.shared_objects import SharedObjects

REGION = "us-east-1"


@pytest.fixture
def client(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name=REGION)
        client.create_bucket(Bucket="things")
        yield client


def keys(client) -> list[str]:
    return [each["Key"] for each in client.list_objects_v2(Bucket="things").get("Contents", ())]


def test_a_folder_goes_there_comes_back_and_is_removed(client, tmp_path):
    source, copy = tmp_path / "source", tmp_path / "copy"
    (source / "deep").mkdir(parents=True)
    (source / "one").write_text("1")
    (source / "deep" / "two").write_text("2")
    client.put_object(Bucket="things", Key="around/neighbour", Body=b"stays")
    place = S3Folder("s3://things/around", REGION).below("model")
    place.send(source)
    assert place.fetch(copy) == 2
    assert ((copy / "one").read_text(), (copy / "deep" / "two").read_text()) == ("1", "2")
    place.remove()
    assert keys(client) == ["around/neighbour"]


def test_folders_whose_names_begin_alike_are_not_mixed_up(client, tmp_path):
    client.put_object(Bucket="things", Key="model-2/data", Body=b"of another")
    assert S3Folder("s3://things/model", REGION).fetch(tmp_path) == 0


def test_an_object_cannot_leave_its_folder(client, tmp_path):
    client.put_object(Bucket="things", Key="code/../../escaped.py", Body=b"x")
    with pytest.raises(TrainingError, match="would leave its folder"):
        S3Folder("s3://things/code/", REGION).fetch(tmp_path / "code")
    assert not (tmp_path.parent / "escaped.py").exists()


def test_documents_are_written_and_read(client):
    folder = S3Folder("s3://things/run/1/", REGION)
    folder.write("result.json", b"{}")
    assert folder.read("result.json") == b"{}"
    with pytest.raises(TrainingError, match=r"cannot read run/1/missing.json of bucket things: .*NoSuchKey"):
        folder.read("missing.json")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url="http://s3"), UnavailableError),
        (
            ClientError({"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "PutObject"),
            UnavailableError,
        ),
        (
            ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "PutObject"),
            TrainingError,
        ),
    ],
)
def test_an_outage_is_told_apart_from_a_refusal(client, monkeypatch, error, expected):
    def refuse(self, operation, kwargs):
        raise error

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    with pytest.raises(expected, match=r"cannot write result\.json to bucket things"):
        S3Folder("s3://things", REGION).write("result.json", b"")


class Stage:
    """A pipeline that Spark writes to S3."""

    def __init__(self, client, part: str) -> None:
        self._client = client
        self._part = part

    def write(self) -> Stage:
        return self

    def overwrite(self) -> Stage:
        return self

    def save(self, uri: str) -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        self._client.put_object(Bucket=bucket, Key=f"{prefix}metadata/{self._part}", Body=b"{}")


def test_models_go_through_s3_and_nothing_stays_there(client, tmp_path):
    shared = SharedObjects(S3Folder("s3://things/spark/", REGION))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "data").write_text("x")
    given = shared.given(tmp_path / "model")
    assert given.startswith("s3://things/spark/slipway-")
    assert S3Folder(given, REGION).read("data") == b"x"
    for name in ("first", "second"):
        shared.save(Stage(client, "part-00000"), tmp_path / name)
        assert (tmp_path / name / "metadata" / "part-00000").read_text() == "{}"
    with pytest.raises(TrainingError, match=r"has written a model to s3://things/spark/.* and it is not there"):
        shared.save(Stage(client, "_SUCCESS"), tmp_path / "third")
    shared.close()
    assert keys(client) == []
