from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from slipway.errors import (
    ComputeUnavailableError,
    InvalidInputError,
    PermanentError,
    ThrottledError,
    TransientError,
)
from slipway.training.emr_job_run import job_run_request
from slipway.training.emr_serverless import EmrServerlessTraining
from slipway.training.remote import Phase

from .test_emr_job_run import APPLICATION, PLACE, order

ROLE = "arn:aws:iam::123456789012:role/slipway-execution"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PREFIX = PLACE.removeprefix("s3://bucket/")


class Stubbed:
    """The training with S3 as moto has it, and a client whose calls and answers are checked by botocore's model."""

    def __init__(self, s3: Any, **changes: Any) -> None:
        self.s3 = s3
        self.emr = boto3.client("emr-serverless", region_name="eu-central-1")
        self.stub = Stubber(self.emr)
        self.stub.activate()
        self.order = order(**changes)
        self.training = EmrServerlessTraining(self.emr, s3, self.order)

    def put(self, attempt: int, name: str, document: dict[str, Any]) -> None:
        key = f"{PREFIX}/{self.order.job_name(attempt)}/{name}"
        self.s3.put_object(Bucket="bucket", Key=key, Body=json.dumps(document).encode())

    def read(self, attempt: int, name: str) -> str:
        key = f"{PREFIX}/{self.order.job_name(attempt)}/{name}"
        return str(self.s3.get_object(Bucket="bucket", Key=key)["Body"].read().decode())

    def noted(self, attempt: int, run: str = "run1") -> None:
        self.put(attempt, "job.json", {})
        self.put(attempt, "started.json", {"application_id": "00f1", "job_run_id": run})

    def application(self, **changes: Any) -> None:
        arn = "arn:aws:emr-serverless:eu-central-1:123456789012:/applications/00f1"
        found = {"applicationId": "00f1", "arn": arn, "createdAt": NOW, "updatedAt": NOW, **APPLICATION, **changes}
        self.stub.add_response("get_application", {"application": found}, {"applicationId": "00f1"})

    def started(self, attempt: int, run: str = "run1") -> None:
        answer = {"applicationId": "00f1", "jobRunId": run, "arn": self._arn(run)}
        self.stub.add_response("start_job_run", answer, job_run_request(self.order, self.order.job_name(attempt)))

    def described(self, state: str, details: str = " ", run: str = "run1", **changes: Any) -> None:
        found = {
            "applicationId": "00f1", "jobRunId": run, "arn": self._arn(run), "createdBy": ROLE, "createdAt": NOW,
            "updatedAt": NOW, "executionRole": ROLE, "state": state, "stateDetails": details,
            "releaseLabel": "emr-spark-8.0.0", "jobDriver": {"sparkSubmit": {"entryPoint": "s3://x/y.py"}}, **changes,
        }  # fmt: skip
        expected = {"applicationId": "00f1", "jobRunId": run}
        self.stub.add_response("get_job_run", {"jobRun": found}, expected)

    def listed(self, run: str) -> None:
        found = {
            "applicationId": "00f1", "id": run, "name": self.order.job_name(1), "arn": self._arn(run),
            "createdBy": ROLE, "createdAt": NOW, "updatedAt": NOW, "executionRole": ROLE, "state": "RUNNING",
            "stateDetails": "-", "releaseLabel": "emr-spark-8.0.0",
        }  # fmt: skip
        self.stub.add_response("list_job_runs", {"jobRuns": [{**found, "name": "another", "id": "run6"}, found]})

    @staticmethod
    def _arn(run: str) -> str:
        return f"arn:aws:emr-serverless:eu-central-1:123456789012:/applications/00f1/jobruns/{run}"


@pytest.fixture
def stubbed(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="eu-central-1")
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

        made = []

        def make(**changes: Any) -> Stubbed:
            made.append(Stubbed(s3, **changes))
            return made[-1]

        yield make
        for each in made:
            each.stub.assert_no_pending_responses()


def test_a_run_without_a_job_run_begins_one_with_its_files_and_notes_its_id(stubbed, tmp_path):
    (tmp_path / "own.py").write_text("x = 1\n")
    run = stubbed(code={"own.py": tmp_path / "own.py"})
    run.application()
    run.started(1)
    run.described("SUBMITTED")
    state = run.training.start()
    assert (state.phase, state.detail) == (Phase.PENDING, "SUBMITTED")
    assert run.read(1, "code/own.py") == "x = 1\n"
    assert "from slipway_trainer.submitted import main" in run.read(1, "entry_point.py")
    assert json.loads(run.read(1, "job.json"))["service"] == "flights"
    assert json.loads(run.read(1, "started.json")) == {"application_id": "00f1", "job_run_id": "run1"}
    assert run.training.name == f"{run.order.job_name(1)} (run1)"
    assert run.training.driver_logs.startswith(f"{PLACE}/{run.order.job_name(1)}/logs/applications/00f1/jobs/run1/")


@pytest.mark.parametrize(
    ("state", "phase"),
    [("QUEUED", Phase.PENDING), ("SCHEDULED", Phase.PENDING), ("RUNNING", Phase.RUNNING), ("SUCCESS", Phase.SUCCEEDED)],
)
def test_a_job_run_that_is_under_way_or_done_is_taken_as_it_is(stubbed, state, phase):
    run = stubbed()
    run.noted(1)
    run.described(state)
    assert run.training.start().phase is phase


def test_one_that_was_started_and_not_noted_is_found_by_its_name(stubbed):
    run = stubbed()
    run.put(1, "job.json", {})
    run.application()
    run.listed("run7")
    run.described("RUNNING", run="run7")
    assert run.training.start().phase is Phase.RUNNING
    assert json.loads(run.read(1, "started.json"))["job_run_id"] == "run7"


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
def test_after_one_that_failed_another_begins(stubbed, state):
    run = stubbed()
    run.noted(1)
    run.described(state)
    run.application()
    run.started(2, "run2")
    run.described("PENDING", run="run2")
    assert run.training.start().phase is Phase.PENDING
    assert run.training.job_run == ("00f1", "run2")


def test_one_of_another_application_is_found_there_and_the_next_begins_on_the_specs_own(stubbed):
    run = stubbed()
    run.put(1, "job.json", {})
    run.put(1, "started.json", {"application_id": "00f0", "job_run_id": "run1"})
    run.stub.add_client_error(
        "get_job_run", "ResourceNotFoundException", expected_params={"applicationId": "00f0", "jobRunId": "run1"}
    )
    run.application()
    run.started(2, "run2")
    run.described("PENDING", run="run2")
    run.training.start()
    assert run.training.job_run == ("00f1", "run2")


def test_one_that_emr_has_forgotten_is_not_waited_for(stubbed):
    run = stubbed()
    run.noted(1)
    run.stub.add_client_error("get_job_run", "ResourceNotFoundException")
    run.application()
    run.started(2, "run2")
    run.described("PENDING", run="run2")
    run.training.start()
    run.stub.add_client_error("get_job_run", "ResourceNotFoundException")
    with pytest.raises(PermanentError, match="is gone; clear the task"):
        run.training.look()


def test_an_application_that_is_not_there_is_named(stubbed):
    run = stubbed()
    run.stub.add_client_error("get_application", "ResourceNotFoundException")
    with pytest.raises(InvalidInputError, match=r"no EMR Serverless application 00f1.*correct application_id"):
        run.training.start()


def test_an_application_that_cannot_train_is_refused_before_anything_is_written(stubbed):
    run = stubbed()
    run.application(releaseLabel="emr-7.5.0")
    with pytest.raises(InvalidInputError, match=r"application 00f1 is of release emr-7\.5\.0"):
        run.training.start()
    assert run.s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 0


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ValidationException", "exceeds the maximum concurrent vCPU of this account", ComputeUnavailableError),
        ("ThrottlingException", "slow down", ThrottledError),
        ("ValidationException", "the role cannot be assumed", PermanentError),
    ],
)
def test_a_start_that_is_refused_says_whether_it_may_be_tried_again(stubbed, code, message, expected):
    run = stubbed()
    run.application()
    run.stub.add_client_error("start_job_run", code, message)
    with pytest.raises(expected, match=message):
        run.training.start()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("data", PermanentError), ("permanent", PermanentError), ("unavailable", TransientError)],
)
def test_the_trainers_own_word_decides_whether_a_failure_is_tried_again(stubbed, kind, expected):
    run = stubbed()
    run.noted(1)
    run.described("RUNNING")
    run.training.start()
    run.put(1, "failure.json", {"kind": kind, "message": "column 'size' is missing"})
    run.described("FAILED", "Job failed, please check complete logs.")
    state = run.training.look()
    assert state.phase is Phase.FAILED
    assert type(state.error) is expected
    assert str(state.error) == "column 'size' is missing"


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ("Worker could not be allocated as the application has exceeded maximumCapacity", ComputeUnavailableError),
        ("Job failed, exit code 137", TransientError),
        (" ", TransientError),
    ],
)
def test_a_failure_without_a_word_is_tried_again(stubbed, details, expected):
    run = stubbed()
    run.noted(1)
    run.described("RUNNING")
    run.training.start()
    run.described("FAILED", details)
    error = run.training.look().error
    assert type(error) is expected
    assert (details.strip() or "no reason is given") in str(error)


def test_a_driver_that_fails_after_its_result_has_succeeded(stubbed):
    run = stubbed()
    run.noted(1)
    run.described("FAILED")
    run.put(1, "result.json", {"run_id": "r"})
    assert run.training.start().phase is Phase.SUCCEEDED
    assert run.training.result() == {"run_id": "r"}


def test_a_success_without_a_result_is_no_trainers(stubbed):
    run = stubbed()
    run.noted(1)
    run.described("SUCCESS")
    run.training.start()
    with pytest.raises(PermanentError, match=r"has succeeded and left no s3://bucket/.*result\.json"):
        run.training.result()


@pytest.mark.parametrize(
    ("seconds", "told"), [(21_600, r"ended after 6 hours; raise retrain\.max_hours"), (60, "was cancelled: by admin")]
)
def test_a_cancelled_one_says_by_what(stubbed, seconds, told):
    run = stubbed()
    run.noted(1)
    run.described("RUNNING")
    run.training.start()
    run.described("CANCELLED", "by admin", totalExecutionDurationSeconds=seconds)
    state = run.training.look()
    assert state.phase is Phase.STOPPED
    with pytest.raises(PermanentError, match=told):
        raise state.error


def test_one_whose_id_has_not_arrived_is_cancelled_by_its_name(stubbed):
    run = stubbed()
    run.application()
    run.stub.add_client_error("start_job_run", "InternalServerException", http_status_code=500)
    with pytest.raises(TransientError):
        run.training.start()
    run.listed("run7")
    expected = {"applicationId": "00f1", "jobRunId": "run7"}
    run.stub.add_response("cancel_job_run", expected, expected)
    run.training.stop()


def test_stopping_cancels_and_one_that_has_ended_is_left_alone(stubbed):
    run = stubbed()
    run.training.stop()  # nothing was begun
    run.noted(1)
    run.described("RUNNING")
    run.training.start()
    expected = {"applicationId": "00f1", "jobRunId": "run1"}
    run.stub.add_response("cancel_job_run", expected, expected)
    run.training.stop()
    run.stub.add_client_error("cancel_job_run", "ValidationException", "is in state SUCCESS")
    run.training.stop()
    run.stub.add_client_error("cancel_job_run", "InternalServerException", http_status_code=500)
    with pytest.raises(TransientError, match="Cannot cancel the job run"):
        run.training.stop()
