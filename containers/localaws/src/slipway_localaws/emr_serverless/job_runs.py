"""Job runs from their start to their end.

States: https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/job-states.html
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moto.core.exceptions import ServiceException
from moto.emrserverless.models import EMRServerlessBackend, JobRun, emrserverless_backends
from moto.s3.models import s3_backends

from slipway_localaws.emr_serverless.job_process import STREAMS, CannotRunError, JobProcess
from slipway_localaws.emr_serverless.submission import Submission
from slipway_localaws.patching import MOTO_LOCK

_LOOK_SECONDS = 0.3
#: How often what a job prints is brought to S3 while it runs.
_LOG_SECONDS = 2.0
ENDED = frozenset({"SUCCESS", "FAILED", "CANCELLED"})


class HostedJobRun(JobRun):
    """A job run whose state is that of a process.

    Args:
        backend: Its account and region.
        release_label: Of its application.
        request: Parameters of StartJobRun.
    """

    def __init__(self, backend: EMRServerlessBackend, release_label: str, request: dict[str, Any]) -> None:
        super().__init__(
            application_id=request["applicationId"],
            client_token=request["clientToken"],
            execution_role_arn=request["executionRoleArn"],
            account_id=backend.account_id,
            region_name=backend.region_name,
            release_label=release_label,
            application_type="SPARK",
            job_driver=request.get("jobDriver"),
            configuration_overrides=request.get("configurationOverrides"),
            tags=request.get("tags") or {},
            network_configuration=None,
            execution_timeout_minutes=request.get("executionTimeoutMinutes"),
            name=request.get("name"),
        )
        if request.get("executionTimeoutMinutes") == 0:
            self.execution_timeout_minutes = 0
        self.request = json.dumps(request, sort_keys=True, default=str)
        self.created_by = f"arn:aws:iam::{backend.account_id}:user/localaws"
        self.created_at = self.updated_at = datetime.now(UTC).replace(tzinfo=None)
        self.attempt = 1
        self.why_cancelled = ""
        self.move("SUBMITTED")

    def move(self, state: str, details: str = "") -> None:
        """Take a state; AWS always gives details."""
        self.state, self.state_details = state, details[:256] or f"Job run is {state.lower()}."
        self.updated_at = datetime.now(UTC).replace(tzinfo=None)
        self.total_execution_duration_seconds = int((self.updated_at - self.created_at).total_seconds())

    @property
    def log_uri(self) -> str:
        """Where its logs go; empty for nowhere."""
        monitoring = (self.configuration_overrides or {}).get("monitoringConfiguration") or {}
        return str((monitoring.get("s3MonitoringConfiguration") or {}).get("logUri") or "")  # type: ignore[union-attr]


class JobHost:
    """Runs job runs, each watched by a thread.

    Args:
        folder: Where the jobs' folders are.
        endpoint_url: The stand-in, as jobs reach it.
        on_change: Told of the services whose state changed.
    """

    def __init__(self, folder: Path, endpoint_url: str, on_change: Callable[[str], None]) -> None:
        self._folder = folder
        self._endpoint_url = endpoint_url
        self._on_change = on_change
        self._threads: dict[str, threading.Thread] = {}
        self._closing = threading.Event()

    def restore(self) -> None:
        """Fail what was under way when the stand-in stopped: its processes are gone."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for _, _, backend in list(emrserverless_backends.iter_backends()):
            for run in [each for runs in backend.job_runs.values() for each in runs]:  # type: ignore[attr-defined]
                if run.state not in ENDED:
                    run.move("FAILED", "The stand-in was stopped while the job ran.")

    def start(self, backend: EMRServerlessBackend, run: HostedJobRun, submission: Submission) -> None:
        """Begin a job run; hold ``MOTO_LOCK``."""
        thread = threading.Thread(
            target=self._run, args=(backend, run, submission), name=f"job-run-{run.id}", daemon=True
        )
        self._threads[run.id] = thread
        thread.start()

    def close(self) -> None:
        """End all jobs."""
        self._closing.set()
        for thread in list(self._threads.values()):
            thread.join(30)

    def _run(self, backend: EMRServerlessBackend, run: HostedJobRun, submission: Submission) -> None:
        folder = self._folder / run.id
        try:
            process = self._process(backend, submission, folder)
        except CannotRunError as error:
            self._move(run, "FAILED", str(error))
            return
        self._move(run, "RUNNING", unless="CANCELLING")
        deadline = time.monotonic() + 60.0 * (run.execution_timeout_minutes or 1e9)
        logged = 0.0
        while process.exit_code is None and run.state != "CANCELLING" and not self._closing.is_set():
            if time.monotonic() > deadline:
                run.why_cancelled = "Job run timed out."
                self._move(run, "CANCELLING", run.why_cancelled)
                break
            if time.monotonic() - logged > _LOG_SECONDS:
                self._log(backend, run, process)
                logged = time.monotonic()
            time.sleep(_LOOK_SECONDS)
        code = process.exit_code
        process.stop()
        self._log(backend, run, process)
        if run.state == "CANCELLING":
            self._move(run, "CANCELLED", run.why_cancelled)
        elif code == 0:
            self._move(run, "SUCCESS")
        else:
            told = "The stand-in was stopped." if code is None else f"Job failed, exit code {code}: see its logs."
            self._move(run, "FAILED", told)
        shutil.rmtree(folder, ignore_errors=True)
        self._threads.pop(run.id, None)

    def _process(self, backend: EMRServerlessBackend, submission: Submission, folder: Path) -> JobProcess:
        role = {
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_ACCESS_KEY_ID": "localaws",
            "AWS_SECRET_ACCESS_KEY": "localaws",
            "AWS_REGION": backend.region_name,
            "AWS_DEFAULT_REGION": backend.region_name,
        }
        archives = {name: _content(backend, uri) for name, uri in submission.archives.items()}
        return JobProcess(submission, _content(backend, submission.entry_point), archives, folder, role)

    def _move(self, run: HostedJobRun, state: str, details: str = "", *, unless: str = "") -> None:
        with MOTO_LOCK:
            if run.state != unless:
                run.move(state, details)
        self._on_change("emr-serverless")

    def _log(self, backend: EMRServerlessBackend, run: HostedJobRun, process: JobProcess) -> None:
        """As EMR stores logs, below ``<logUri>/applications/<application>/jobs/<job run>/SPARK_DRIVER/``.

        https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/logging.html
        """
        bucket, _, prefix = run.log_uri.removeprefix("s3://").rstrip("/").partition("/")
        if not bucket:
            return
        place = f"applications/{run.application_id}/jobs/{run.id}/SPARK_DRIVER"
        for stream in STREAMS:
            content = process.printed(stream)
            key = "/".join(part for part in (prefix, place, f"{stream}.gz") if part)
            with MOTO_LOCK:
                try:
                    if content:
                        s3_backends[backend.account_id]["aws"].put_object(bucket, key, content)
                except ServiceException:  # no such bucket
                    return
        self._on_change("s3")


def _content(backend: EMRServerlessBackend, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with MOTO_LOCK:
        try:
            found = s3_backends[backend.account_id]["aws"].get_object(bucket, key)
        except ServiceException:
            found = None
        if found is None:
            raise CannotRunError(f"{uri} cannot be read: there is no such object.")
        content: bytes = found.value
        return content
