"""A run's training as a SageMaker training job.

Below ``retrain/<service>/runs/<run>/training/<job>/`` of the artifact bucket lie the job document (channel ``job``),
the service's own files (channel ``code``) and what the job leaves (``output/output.tar.gz`` with ``result.json``,
``output/model.tar.gz``). Rows are not copied: the trainer reads them from S3 with the credentials of the job's role.

Names and limits are those of the API reference,
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html and API_DescribeTrainingJob.html.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code, error_message, is_capacity_reason
from slipway.documents import DocumentStore
from slipway.errors import (
    CapacityError,
    ComputeUnavailableError,
    PermanentError,
    SlipwayError,
    StorageUnavailableError,
    TransientError,
)
from slipway.training.remote import Phase, RemoteState
from slipway.training.training_job_request import CODE_CHANNEL, JOB_CHANNEL, JobOrder, training_job_request
from slipway.training.training_log import TrainingLog

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
#: What the trainer's container ends with when trying again may help (EX_TEMPFAIL of sysexits.h).
TRY_AGAIN_CODE = 75
_KILLED_CODE = 137  # 128 + SIGKILL: what the kernel does to a container that takes too much memory
_MOST_ATTEMPTS = 99
_RESULT = "result.json"
_PHASES = {
    "InProgress": Phase.RUNNING,
    "Stopping": Phase.STOPPING,
    "Completed": Phase.SUCCEEDED,
    "Failed": Phase.FAILED,
    "Stopped": Phase.STOPPED,
}
# Secondary statuses before the container runs; while an instance is taken away and another one is waited for as well.
_PENDING = frozenset({
    "Starting", "Pending", "LaunchingMLInstances", "PreparingTrainingStack", "Downloading", "DownloadingTrainingImage",
    "Interrupted", "Restarting",
})  # fmt: skip
_EXIT_CODE = re.compile(r",?\s*exit code: (\d+)\s*$", re.IGNORECASE)
_KIND = re.compile(r"^(AlgorithmError|ClientError|InternalServerError|CapacityError):\s*")


class SageMakerTraining:
    """Starts, finds, watches and stops the training job of one run.

    Args:
        sagemaker: A boto3 SageMaker client.
        s3: A boto3 S3 client of the artifact bucket.
        logs: A boto3 CloudWatch Logs client.
        order: The training job.
    """

    def __init__(self, sagemaker: SageMakerClient, s3: S3Client, logs: CloudWatchLogsClient, order: JobOrder) -> None:
        self._sagemaker = sagemaker
        self._s3 = s3
        self._logs = logs
        self._order = order
        self._name = order.job_name(1)
        self._log = TrainingLog(logs, LOG_GROUP, self._name)
        self._output = ""

    @property
    def order(self) -> JobOrder:
        """What was ordered."""
        return self._order

    @property
    def name(self) -> str:
        """The job's name."""
        return self._name

    def start(self) -> RemoteState:
        """Find this run's job, or create it."""
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            self._take(self._order.job_name(attempt))
            found = self._described()
            if found is None:
                return self._create()
            state = self._state(found)
            if state.phase not in {Phase.FAILED, Phase.STOPPED}:
                return state
        raise PermanentError(
            f"{self._order.run_id} of {self._order.service} has failed {_MOST_ATTEMPTS} times, as {self._name} and "
            "before; start a new run"
        )

    def look(self) -> RemoteState:
        """Describe the job."""
        found = self._described()
        if found is None:
            raise PermanentError(f"The training job {self._name} is gone; clear the task to begin another one.")
        return self._state(found)

    def new_lines(self) -> Sequence[str]:
        """What the job's container printed since the last call."""
        return self._log.new_lines()

    def stop(self) -> None:
        """Have SageMaker send SIGTERM to the container, and kill it after 120 seconds."""
        with aws_call(f"stop the training job {self._name}"):
            try:
                self._sagemaker.stop_training_job(TrainingJobName=self._name)
            except ClientError as error:
                # Of a job that has ended it says: "The request was rejected because the training job is in status …".
                if not _is_absent(error) and "status" not in error_message(error).lower():
                    raise

    def result(self) -> dict[str, Any]:
        """``result.json`` of the job's ``output.tar.gz``."""
        uri = f"{self._output.rstrip('/')}/{self._name}/output/output.tar.gz"
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        with aws_call(f"read {uri}", unavailable=StorageUnavailableError):
            content = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        try:
            found = json.loads(_member(content, _RESULT))
        except (tarfile.TarError, KeyError, ValueError, EOFError, OSError) as error:
            raise PermanentError(f"{uri} holds no result.json: {error}. Is the job's image the trainer's?") from error
        if not isinstance(found, dict):
            raise PermanentError(f"result.json of {uri} is no JSON object: {str(found)[:80]!r}")
        return found

    def _take(self, name: str) -> None:
        if name != self._name:
            self._name, self._log = name, TrainingLog(self._logs, LOG_GROUP, name)

    def _described(self) -> Mapping[str, Any] | None:
        with aws_call(f"look at the training job {self._name}"):
            try:
                found = self._sagemaker.describe_training_job(TrainingJobName=self._name)
            except ClientError as error:
                if _is_absent(error):
                    return None
                raise
        self._output = found["OutputDataConfig"]["S3OutputPath"]
        return found

    def _create(self) -> RemoteState:
        folder = self._order.folder(self._name)
        self._put(f"{folder}/{JOB_CHANNEL}/job.json", json.dumps(self._order.document, indent=1).encode())
        for path, file in self._order.code.items():
            self._put(f"{folder}/{CODE_CHANNEL}/{path}", file.read_bytes())
        request = training_job_request(self._order, self._name)
        self._output = request["OutputDataConfig"]["S3OutputPath"]
        try:
            with aws_call(f"create the training job {self._name}"):
                self._sagemaker.create_training_job(**request)
        except CapacityError as error:
            raise ComputeUnavailableError(str(error)) from error
        except SlipwayError as error:
            # A request that was repeated, because its answer was lost, finds its own job.
            if error.__cause__ is None or error_code(error.__cause__) != "ResourceInUse":
                raise
            return self.look()
        return RemoteState(Phase.PENDING, "Starting")

    def _put(self, uri: str, body: bytes) -> None:
        """Write an object, unless it is there with the same content."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found = DocumentStore(self._s3, bucket).read(key)
        if found and found.body == body:
            return
        with aws_call(f"write {uri}", unavailable=StorageUnavailableError):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)

    def _state(self, found: Mapping[str, Any]) -> RemoteState:
        status, detail = found["TrainingJobStatus"], found.get("SecondaryStatus", "")
        phase = _PHASES.get(status)
        if phase is None:
            raise PermanentError(f"The training job {self._name} is {status}; expected one of {', '.join(_PHASES)}")
        if phase is Phase.FAILED:
            return RemoteState(phase, detail, failure(self._name, found.get("FailureReason") or ""))
        if phase is Phase.STOPPED:
            return RemoteState(phase, detail, self._stopped(detail))
        return RemoteState(Phase.PENDING if phase is Phase.RUNNING and detail in _PENDING else phase, detail)

    def _stopped(self, detail: str) -> SlipwayError:
        if detail == "MaxRuntimeExceeded":
            hours = self._order.max_runtime_seconds / 3600
            return PermanentError(
                f"The training job {self._name} was ended after {hours:g} hours; raise retrain.max_hours, or train "
                "on a larger instance or fewer rows"
            )
        if detail == "MaxWaitTimeExceeded":
            return ComputeUnavailableError(
                f"The training job {self._name} found no spot instance in time; raise max_wait_hours, choose another "
                "instance type, or do without spot"
            )
        return PermanentError(
            f"The training job {self._name} was stopped by somebody; clear the task to begin another."
        )


def failure(name: str, reason: str) -> SlipwayError:
    """What to raise for a job that failed.

    Args:
        name: The job.
        reason: Its FailureReason: ``AlgorithmError: <what the trainer wrote>, exit code: <n>`` when the container
            failed, ``ClientError: …`` for a wrong request, ``CapacityError: …``, ``InternalServerError: …``.
    """
    kind = match[1] if (match := _KIND.search(reason)) else ""
    if kind == "CapacityError" or is_capacity_reason(reason):
        return ComputeUnavailableError(f"The training job {name} got no instance: {reason}")
    if kind == "InternalServerError":
        return TransientError(f"The training job {name} failed in SageMaker itself: {reason}")
    code = int(match[1]) if (match := _EXIT_CODE.search(reason)) else None
    text = _KIND.sub("", _EXIT_CODE.sub("", reason)).strip()
    if code == TRY_AGAIN_CODE:
        return TransientError(text or f"The training job {name} asks to be tried again, and says no more.")
    if code == _KILLED_CODE:
        return PermanentError(
            f"The training job {name} was killed ({reason}), probably for its memory: choose a larger "
            "retrain.compute.sagemaker.instance_type"
        )
    if kind == "AlgorithmError" and text:
        return PermanentError(f"{text} (training job {name})")
    return PermanentError(f"The training job {name} failed: {reason or 'no reason is given'}")


def _member(archive: bytes, name: str) -> bytes:
    """A file of an archive, at its root or in ``data/``: AWS does not say whether the folder's own name is kept."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        for each in opened:
            if each.isfile() and each.name.removeprefix("./").removeprefix("data/") == name:
                file = opened.extractfile(each)
                return file.read() if file else b""
    raise KeyError(f"no {name} among its files")


def _is_absent(error: ClientError) -> bool:
    """DescribeTrainingJob says "Requested resource not found." with the code of every other refusal."""
    if error_code(error) in {"ResourceNotFound", "ResourceNotFoundException"}:
        return True
    words = error_message(error).lower()
    return error_code(error) == "ValidationException" and ("not found" in words or "could not find" in words)
