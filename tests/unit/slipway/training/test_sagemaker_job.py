from __future__ import annotations

import io
import json
import re
import tarfile
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from slipway.errors import ComputeUnavailableError, PermanentError, ThrottledError, TransientError
from slipway.training.remote import Phase
from slipway.training.sagemaker_job import SageMakerTraining, failure
from slipway.training.training_job_request import training_job_request

from .training_orders import PLACE, order

NOT_FOUND = ("ValidationException", "Requested resource not found.")


def client(name: str) -> Any:
    return boto3.client(name, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="y")


class Stubbed:
    """The training with clients whose every call and answer is checked against botocore's models."""

    def __init__(self, **changes: Any) -> None:
        self.sagemaker, self.s3 = client("sagemaker"), client("s3")
        self.stubs = Stubber(self.sagemaker), Stubber(self.s3)
        for stub in self.stubs:
            stub.activate()
        self.order = order(**changes)
        self.training = SageMakerTraining(self.sagemaker, self.s3, client("logs"), self.order)

    def described(self, attempt: int, status: str, secondary: str = "Training", reason: str = "") -> None:
        name, now = self.order.job_name(attempt), datetime.now(UTC)
        answer = {
            "TrainingJobName": name,
            "TrainingJobArn": f"arn:aws:sagemaker:eu-central-1:123456789012:training-job/{name}",
            "ModelArtifacts": {"S3ModelArtifacts": f"{PLACE}/{name}/output/model.tar.gz"},
            "TrainingJobStatus": status,
            "SecondaryStatus": secondary,
            "FailureReason": reason,
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "ResourceConfig": {"VolumeSizeInGB": 30},
            "StoppingCondition": {},
            "CreationTime": now,
            "OutputDataConfig": {"S3OutputPath": PLACE},
        }
        self.stubs[0].add_response("describe_training_job", answer, {"TrainingJobName": name})

    def absent(self, attempt: int) -> None:
        expected = {"TrainingJobName": self.order.job_name(attempt)}
        self.stubs[0].add_client_error("describe_training_job", *NOT_FOUND, expected_params=expected)

    def put(self, path: str) -> None:
        place = {"Bucket": "bucket", "Key": f"{PLACE.removeprefix('s3://bucket/')}/{path}"}
        self.stubs[1].add_client_error("get_object", "NoSuchKey", "no", 404, expected_params=place)
        self.stubs[1].add_response("put_object", {}, {**place, "Body": ANY})

    def there(self, path: str, body: bytes) -> None:
        place = {"Bucket": "bucket", "Key": f"{PLACE.removeprefix('s3://bucket/')}/{path}"}
        answer = {"Body": StreamingBody(io.BytesIO(body), len(body)), "ETag": '"1"'}
        self.stubs[1].add_response("get_object", answer, place)

    def created(self, attempt: int) -> None:
        request = training_job_request(self.order, self.order.job_name(attempt))
        self.stubs[0].add_response("create_training_job", {"TrainingJobArn": "a" * 20}, request)

    def done(self) -> None:
        for stub in self.stubs:
            stub.assert_no_pending_responses()


def test_a_run_without_a_job_begins_one_with_its_files(tmp_path):
    (tmp_path / "own.py").write_text("x = 1\n")
    stubbed = Stubbed(code={"own.py": tmp_path / "own.py"})
    name = stubbed.order.job_name(1)
    stubbed.absent(1)
    stubbed.put(f"{name}/job/job.json")
    stubbed.put(f"{name}/code/own.py")
    stubbed.created(1)
    assert stubbed.training.start().phase is Phase.PENDING
    assert stubbed.training.name == name
    stubbed.done()


def test_files_that_a_killed_try_has_written_are_not_written_again(tmp_path):
    (tmp_path / "own.py").write_text("x = 1\n")
    stubbed = Stubbed(code={"own.py": tmp_path / "own.py"})
    name = stubbed.order.job_name(1)
    stubbed.absent(1)
    stubbed.there(f"{name}/job/job.json", json.dumps(stubbed.order.document, indent=1).encode())
    stubbed.there(f"{name}/code/own.py", b"x = 1\n")
    stubbed.created(1)
    stubbed.training.start()
    stubbed.done()


@pytest.mark.parametrize(
    ("status", "secondary", "phase"),
    [
        ("InProgress", "Training", Phase.RUNNING),
        ("InProgress", "Downloading", Phase.PENDING),
        ("InProgress", "Interrupted", Phase.PENDING),
        ("Stopping", "Stopping", Phase.STOPPING),
        ("Completed", "Completed", Phase.SUCCEEDED),
    ],
)
def test_a_job_that_is_under_way_or_done_is_taken(status, secondary, phase):
    stubbed = Stubbed()
    stubbed.described(1, status, secondary)
    assert stubbed.training.start().phase is phase
    stubbed.done()


@pytest.mark.parametrize("ends", [["Failed"], ["Stopped"], ["Failed", "Stopped"]])
def test_after_jobs_that_failed_or_were_stopped_another_begins(ends):
    stubbed = Stubbed()
    for attempt, status in enumerate(ends, 1):
        stubbed.described(attempt, status, status)
    following = len(ends) + 1
    stubbed.absent(following)
    stubbed.put(f"{stubbed.order.job_name(following)}/job/job.json")
    stubbed.created(following)
    assert stubbed.training.start().phase is Phase.PENDING
    assert stubbed.training.name.endswith(f"-{following}")
    stubbed.done()


def test_a_request_whose_answer_was_lost_finds_its_own_job():
    stubbed = Stubbed()
    stubbed.absent(1)
    stubbed.put(f"{stubbed.order.job_name(1)}/job/job.json")
    stubbed.stubs[0].add_client_error("create_training_job", "ResourceInUse", "names must be unique", 400)
    stubbed.described(1, "InProgress", "Starting")
    assert stubbed.training.start().phase is Phase.PENDING
    stubbed.done()


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("ResourceLimitExceeded", ComputeUnavailableError),
        ("ThrottlingException", ThrottledError),
        ("ValidationException", PermanentError),
        ("AccessDeniedException", PermanentError),
    ],
)
def test_a_refusal_is_tried_again_or_not_by_its_code(code, wanted):
    stubbed = Stubbed()
    stubbed.absent(1)
    stubbed.put(f"{stubbed.order.job_name(1)}/job/job.json")
    stubbed.stubs[0].add_client_error("create_training_job", code, "no", 400)
    with pytest.raises(wanted, match="Cannot create the training job flights-"):
        stubbed.training.start()


def test_stopping_what_has_ended_is_no_error():
    stubbed = Stubbed()
    message = "The request was rejected because the training job is in status Completed."
    stubbed.stubs[0].add_client_error("stop_training_job", "ValidationException", message)
    stubbed.training.stop()
    stubbed.stubs[0].add_client_error("stop_training_job", *NOT_FOUND)
    stubbed.training.stop()
    stubbed.stubs[0].add_client_error("stop_training_job", "AccessDeniedException", "no")
    with pytest.raises(PermanentError, match="Cannot stop the training job"):
        stubbed.training.stop()


def archive(**files: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        for name, body in files.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(body)
            made.addfile(member, io.BytesIO(body))
    return content.getvalue()


def test_the_result_is_in_the_output(monkeypatch):
    for body, message in (
        (archive(result__json=json.dumps({"run_id": "r"}).encode()), None),
        (archive(other=b""), "holds no result.json"),
        (archive(result__json=b"{"), "holds no result.json"),
        (archive(result__json=b"[]"), "is no JSON object"),
        (b"no archive", "holds no result.json"),
    ):
        stubbed = Stubbed()
        stubbed.described(1, "Completed", "Completed")
        stubbed.training.start()
        key = f"retrain/flights/runs/manual__1/training/{stubbed.training.name}/output/output.tar.gz"
        answer = {"Body": StreamingBody(io.BytesIO(body), len(body))}
        stubbed.stubs[1].add_response("get_object", answer, {"Bucket": "bucket", "Key": key})
        if message is None:
            assert stubbed.training.result() == {"run_id": "r"}
        else:
            with pytest.raises(PermanentError, match=message):
                stubbed.training.result()


@pytest.mark.parametrize(
    ("reason", "wanted", "message"),
    [
        (
            "AlgorithmError: s3://lake/a.parquet lacks 'size', exit code: 1",
            PermanentError,
            r"^s3://lake/a.parquet lacks 'size' \(training job j\)$",
        ),
        ("AlgorithmError: MLflow does not answer, exit code: 75", TransientError, "^MLflow does not answer$"),
        ("AlgorithmError: , exit code: 75", TransientError, "says no more"),
        ("AlgorithmError: , exit code: 137", PermanentError, "larger retrain.compute.sagemaker.instance_type"),
        (
            "CapacityError: Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity "
            "error. Please retry using a different ML instance type or after some time.",
            ComputeUnavailableError,
            "got no instance",
        ),
        (
            "InternalServerError: We encountered an internal error. Please try again.",
            TransientError,
            "SageMaker itself",
        ),
        ("ClientError: Data download failed: no such key", PermanentError, "failed: ClientError: Data download"),
        ("", PermanentError, "no reason is given"),
    ],
)
def test_the_reason_of_a_failure_decides_whether_it_is_tried_again(reason, wanted, message):
    error = failure("j", reason)
    assert isinstance(error, wanted)
    assert re.search(message, str(error))


@pytest.mark.parametrize(
    ("secondary", "wanted", "message"),
    [
        ("MaxRuntimeExceeded", PermanentError, "ended after 6 hours; raise retrain.max_hours"),
        ("MaxWaitTimeExceeded", ComputeUnavailableError, "found no spot instance in time"),
        ("Stopped", PermanentError, "was stopped by somebody"),
    ],
)
def test_a_job_that_was_stopped_says_by_whom(secondary, wanted, message):
    stubbed = Stubbed()
    stubbed.described(1, "InProgress")
    stubbed.training.start()
    stubbed.described(1, "Stopped", secondary)
    state = stubbed.training.look()
    assert state.phase is Phase.STOPPED
    assert isinstance(state.error, wanted)
    assert message in str(state.error)
