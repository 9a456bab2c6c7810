"""A run's training as a job run of EMR Serverless.

Below ``retrain/<service>/runs/<run>/training/<job>/`` of the artifact bucket lie the job document, the service's own
files (``code/``), the trainer's entry point, ``started.json`` with the job run's id, and what the trainer leaves:
``result.json`` or ``failure.json``. Rows are not copied: Spark reads them from S3 with the credentials of the job run's
role.

States: https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/job-states.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code, is_capacity_reason
from slipway.documents import DocumentStore, parse_document
from slipway.errors import (
    ComputeUnavailableError,
    InvalidInputError,
    PermanentError,
    SlipwayError,
    StorageUnavailableError,
    TransientError,
)
from slipway.training.driver_log import DriverLog
from slipway.training.emr_job_run import EmrOrder, job_run_request, order_document, unfit
from slipway.training.remote import Phase, RemoteState

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MOST_ATTEMPTS = 99
_PHASES = {
    "SUBMITTED": Phase.PENDING,
    "QUEUED": Phase.PENDING,
    "PENDING": Phase.PENDING,
    "SCHEDULED": Phase.PENDING,
    "RUNNING": Phase.RUNNING,
    "CANCELLING": Phase.STOPPING,
    "SUCCESS": Phase.SUCCEEDED,
    "FAILED": Phase.FAILED,
    "CANCELLED": Phase.STOPPED,
}
_CAPACITY = re.compile(r"could not be allocated|maximum.*(?:capacity|vcpu|concurrent)|servicequota", re.IGNORECASE)


class EmrServerlessTraining:
    """Starts, finds, watches and stops the job run of one DAG run.

    Args:
        emr: A boto3 EMR Serverless client.
        s3: A boto3 S3 client of the artifact bucket.
        order: The training.
    """

    def __init__(self, emr: Any, s3: S3Client, order: EmrOrder) -> None:
        self._emr = emr
        self._s3 = s3
        self._order = order
        self._documents = DocumentStore(s3, order.place.removeprefix("s3://").partition("/")[0])
        self._attempt = order.job_name(1)
        self._application = order.compute.application_id
        self._run = ""
        self._log: DriverLog | None = None
        self._ended = False
        self._starting = False

    @property
    def name(self) -> str:
        """The attempt's name, and the job run's id once there is one."""
        return f"{self._attempt} ({self._run})" if self._run else self._attempt

    @property
    def job_run(self) -> tuple[str, str]:
        """Ids of the application and the job run."""
        return self._application, self._run

    @property
    def driver_logs(self) -> str:
        """The folder of what the job run's driver prints."""
        around = self._order.log_uri(self._attempt).rstrip("/")
        return f"{around}/applications/{self._application}/jobs/{self._run}/SPARK_DRIVER/"

    def start(self) -> RemoteState:
        """Find this run's job run, or start it."""
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            self._attempt, self._run, self._log, self._ended = self._order.job_name(attempt), "", None, False
            self._application = self._order.compute.application_id
            known = self._read("started.json")
            if known is None:
                self._require_application()
                return self._begin()
            self._take(known["application_id"], known["job_run_id"])
            found = self._described()
            state = self._state(found) if found else None
            if state and state.phase not in {Phase.FAILED, Phase.STOPPED}:
                return state
        raise PermanentError(
            f"{self._order.run_id} of {self._order.service} has failed {_MOST_ATTEMPTS} times, as {self.name} and "
            "before; start a new run"
        )

    def look(self) -> RemoteState:
        """Ask for the job run."""
        found = self._described()
        if found is None:
            raise PermanentError(f"The job run {self.name} is gone; clear the task to begin another one.")
        return self._state(found)

    def new_lines(self) -> Sequence[str]:
        """What the driver printed since the last call, as far as EMR has brought it to S3."""
        if self._log is None:
            return ()
        return self._log.new_lines(ended=self._ended)

    def stop(self) -> None:
        """Cancel the job run, also when its id has not arrived yet."""
        run = self._run or (self._same_name() if self._starting else None)
        if not run:
            return
        with aws_call(f"cancel the job run {self.name}"):
            try:
                self._emr.cancel_job_run(applicationId=self._application, jobRunId=run)
            except ClientError as error:
                # One that has ended is refused with a ValidationException, one that is forgotten is not found.
                if error_code(error) not in {"ValidationException", "ResourceNotFoundException"}:
                    raise

    def result(self) -> dict[str, Any]:
        """``result.json`` of the attempt."""
        found = self._read("result.json")
        if found is None:
            raise PermanentError(
                f"The job run {self.name} has succeeded and left no {self._uri('result.json')}. Is slipway_trainer of "
                "the application's image the one that belongs to this Slipway?"
            )
        return found

    def _require_application(self) -> None:
        """Refuse what could not train, before anything is started."""
        wanted = self._application
        with aws_call(f"look at the EMR Serverless application {wanted}"):
            try:
                found = self._emr.get_application(applicationId=wanted)["application"]
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                raise InvalidInputError(
                    f"There is no EMR Serverless application {wanted}, which retrain.compute.emr_serverless names; "
                    "create it, or correct application_id."
                ) from error
        refusal = unfit(found)
        if refusal:
            raise InvalidInputError(f"The EMR Serverless application {wanted} {refusal}")

    def _begin(self) -> RemoteState:
        order = self._order
        # Whoever came before may have been killed before it could note what it had started.
        earlier = self._same_name() if self._read("job.json") is not None else None
        if earlier:
            return self._noted(earlier)
        self._put("job.json", json.dumps(order_document(order, self._attempt), indent=1).encode())
        for path, file in order.code.items():
            self._put(f"code/{path}", file.read_bytes())
        self._starting = True
        self._put("entry_point.py", files("slipway_trainer").joinpath("entry_point.py").read_bytes())
        try:
            with aws_call(f"start the job run {self._attempt}"):
                started = self._emr.start_job_run(**job_run_request(order, self._attempt))
        except SlipwayError as error:
            if not _CAPACITY.search(str(error)):
                raise
            raise ComputeUnavailableError(str(error)) from error
        return self._noted(started["jobRunId"])

    def _noted(self, run: str) -> RemoteState:
        self._take(self._application, run)
        note = {"application_id": self._application, "job_run_id": run}
        self._put("started.json", json.dumps(note).encode())
        return self.look()

    def _same_name(self) -> str | None:
        with aws_call(f"look for the job run {self._attempt}"):
            for page in self._emr.get_paginator("list_job_runs").paginate(applicationId=self._application):
                for each in page["jobRuns"]:
                    if each.get("name") == self._attempt:
                        return str(each["id"])
        return None

    def _take(self, application: str, run: str) -> None:
        self._application, self._run = application, run
        self._log = DriverLog(self._s3, f"{self.driver_logs}stdout.gz")

    def _described(self) -> Mapping[str, Any] | None:
        with aws_call(f"look at the job run {self.name}"):
            try:
                found: Mapping[str, Any] = self._emr.get_job_run(applicationId=self._application, jobRunId=self._run)
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return None
                raise
        described: Mapping[str, Any] = found["jobRun"]
        return described

    def _state(self, found: Mapping[str, Any]) -> RemoteState:
        state, detail = found["state"], (found.get("stateDetails") or "").strip()
        phase = _PHASES.get(state)
        if phase is None:
            raise PermanentError(f"The job run {self.name} is {state}; expected one of {', '.join(_PHASES)}")
        self._ended = phase in {Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED}
        # The result is the last that a trainer does. Spark can still fail while it ends.
        if phase is Phase.FAILED and self._read("result.json") is not None:
            return RemoteState(Phase.SUCCEEDED, detail)
        if phase is Phase.FAILED:
            return RemoteState(phase, detail, self._failure(detail))
        if phase is Phase.STOPPED:
            return RemoteState(phase, detail, self._cancelled(found, detail))
        return RemoteState(phase, state if phase is Phase.PENDING else "")

    def _failure(self, detail: str) -> SlipwayError:
        told = self._read("failure.json")
        if told is not None:
            kind, message = told.get("kind"), str(told.get("message"))
            return TransientError(message) if kind in {"unavailable", "unknown"} else PermanentError(message)
        said = f"The job run {self.name} failed and the trainer left no word: {detail or 'no reason is given'}"
        if _CAPACITY.search(detail) or is_capacity_reason(detail):
            return ComputeUnavailableError(said)
        return TransientError(f"{said}. Its logs are in {self.driver_logs}; out of memory?")

    def _cancelled(self, found: Mapping[str, Any], detail: str) -> SlipwayError:
        minutes = self._order.max_runtime_minutes
        if (found.get("totalExecutionDurationSeconds") or 0) >= 60 * minutes:
            return PermanentError(
                f"The job run {self.name} was ended after {minutes / 60:g} hours; raise retrain.max_hours, give Spark "
                "more executors, or train on fewer rows"
            )
        said = f": {detail}" if detail else ""
        return PermanentError(f"The job run {self.name} was cancelled{said}; clear the task to begin another one.")

    def _uri(self, name: str) -> str:
        return f"{self._order.folder(self._attempt)}/{name}"

    def _read(self, name: str) -> dict[str, Any] | None:
        key = self._uri(name).removeprefix("s3://").partition("/")[2]
        found = self._documents.read(key)
        return parse_document(found.body, self._uri(name)) if found else None

    def _put(self, name: str, body: bytes) -> None:
        bucket, _, key = self._uri(name).removeprefix("s3://").partition("/")
        with aws_call(f"write {self._uri(name)}", unavailable=StorageUnavailableError):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)
