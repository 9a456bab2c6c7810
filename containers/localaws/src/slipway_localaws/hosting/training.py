"""Runs training jobs: each in a container of its own, once, to its end.

Statuses: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeTrainingJob.html. A job that was under
way when the stand-in stopped is started again when it is back, as an interrupted one is on AWS.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from moto.sts.models import sts_backends

from slipway_localaws.hosting.container_process import ContainerProcess
from slipway_localaws.hosting.fleet import NO_CAPACITY, Host
from slipway_localaws.hosting.images import UnpackedImage
from slipway_localaws.hosting.launch_spec import TRAIN, CannotStartError, plan_launch
from slipway_localaws.hosting.layers import LayerError
from slipway_localaws.hosting.scoped_path import resolve_in
from slipway_localaws.hosting.training_files import (
    TrainingDataError,
    failure_text,
    fetch,
    lay_out,
    put_folder,
    take_away,
)
from slipway_localaws.patching import MOTO_LOCK
from slipway_localaws.sagemaker.training_record import TrainingJob

log = logging.getLogger(__name__)
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
ML = "/opt/ml"
#: Images that are lent the host's Python stay in the host's root: their programs are told where ``/opt/ml`` is.
ML_VARIABLE = "SLIPWAY_ML_ROOT"
#: They stay this user as well: another one may not read what is lent.
USER_VARIABLE = "SLIPWAY_RUN_AS"
_GRACE_SECONDS = 120.0  # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html
_TICK_SECONDS = 0.1
_CREDENTIAL_SECONDS = 12 * 3600


class TrainingFailedError(RuntimeError):
    """The job did not succeed; the message is its FailureReason."""


class Trainer:
    """Owns the containers of all training jobs.

    Args:
        host: the machine.
        endpoint_url: where the containers find AWS.
        on_change: called when a service's state changed, with its name.
    """

    def __init__(self, host: Host, endpoint_url: str, on_change: Callable[[str], None]) -> None:
        self._host = host
        self._endpoint_url = endpoint_url
        self._on_change = on_change
        self._closing = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    # -- operations: called with MOTO_LOCK held, they return at once ------------------------------------------------

    def start(self, job: TrainingJob) -> None:
        """Run a new job, whose status is ``InProgress``."""
        thread = threading.Thread(target=self._run, args=(job,), name=f"training-{job.training_job_name}", daemon=True)
        self._threads[job.arn] = thread
        self._on_change("sagemaker")
        thread.start()

    def stop(self, job: TrainingJob) -> None:
        """End a job that is in progress; its thread sees the status."""
        job.touch("Stopping", "Stopping", "Stopping the training job")
        self._on_change("sagemaker")

    def restore(self, jobs: Iterable[TrainingJob]) -> None:
        """Run again what was under way when the stand-in stopped."""
        for job in jobs:
            if job.training_job_status == "Stopping":
                job.touch("Stopped", "Stopped", "Training job stopped")
            elif job.training_job_status == "InProgress":
                job.touch("InProgress", "Restarting", "Restarting the training job")
                self.start(job)

    def close(self) -> None:
        """End all containers; their jobs stay as they are. Returns when everything is gone."""
        self._closing.set()
        for thread in list(self._threads.values()):
            thread.join()

    # -- what they do in the background ------------------------------------------------------------------------------

    def _run(self, job: TrainingJob) -> None:
        scratch = self._host.containers / f"training-{uuid.uuid4().hex[:17]}"
        try:
            self._see_through(job, scratch)
        except (TrainingFailedError, TrainingDataError) as error:
            self._set(job, "Failed", "Failed", "Training job failed", str(error))
        except Exception as error:
            log.exception("the training job %s failed", job.training_job_name)
            self._set(job, "Failed", "Failed", "Training job failed", f"InternalServerError: {error}")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            self._threads.pop(job.arn, None)

    def _see_through(self, job: TrainingJob, scratch: Path) -> None:
        if self._host.faults.hit(("no_capacity",), resource=job.training_job_name):
            raise TrainingFailedError(f"CapacityError: {NO_CAPACITY}")
        image = self._unpacked(job, scratch)
        ml = resolve_in(image.rootfs, ML)
        self._set(job, "InProgress", "Downloading", "Downloading input data")
        lay_out(ml, job.request, job.account)
        checkpoints = self._checkpoints(job, image)
        if self._stopped_before(job):
            return
        self._set(job, "InProgress", "Training", "Training image download completed. Training in progress.")
        code, exceeded = self._train(job, image, scratch)
        if self._closing.is_set():
            return
        stopped = exceeded or job.training_job_status == "Stopping"
        if checkpoints:
            put_folder(checkpoints, job.request["CheckpointConfig"]["S3Uri"], job.account)
        if code and not stopped:
            raise TrainingFailedError(f"AlgorithmError: {failure_text(ml)}, exit code: {code}")
        if not stopped:
            self._set(job, "InProgress", "Uploading", "Uploading generated training model")
        take_away(ml, job.output_uri, job.account)
        self._on_change("s3")
        self._end(job, stopped=stopped, exceeded=exceeded)

    def _unpacked(self, job: TrainingJob, scratch: Path) -> UnpackedImage:
        self._set(job, "InProgress", "DownloadingTrainingImage", "Downloading the training image")
        try:
            return self._host.images.own_root(self._host.images.unpack(job.digest), scratch / "rootfs")
        except LayerError as error:
            raise TrainingFailedError(f"ClientError: Cannot pull the training image: {error}") from error

    def _checkpoints(self, job: TrainingJob, image: UnpackedImage) -> Path | None:
        config = job.request.get("CheckpointConfig")
        if not config:
            return None
        folder = resolve_in(image.rootfs, config.get("LocalPath") or f"{ML}/checkpoints")
        fetch(config["S3Uri"].rstrip("/") + "/", job.account, folder)
        return folder

    def _train(self, job: TrainingJob, image: UnpackedImage, scratch: Path) -> tuple[int, bool]:
        """Run the container; its exit code, and whether it took too long."""
        algorithm = job.request["AlgorithmSpecification"]
        own = [*(algorithm.get("ContainerEntrypoint") or ()), *(algorithm.get("ContainerArguments") or ())]
        try:
            spec = plan_launch(
                image, self._environment(job), scratch, self._host.interpreters, argument=TRAIN, command=own
            )
        except CannotStartError as error:
            raise TrainingFailedError(f"ClientError: Cannot start the training container: {error}") from error
        if not spec.root:
            spec = replace(spec, environment={**spec.environment, USER_VARIABLE: ""})
        stream = f"{job.training_job_name}/algo-1-{int(time.time())}"
        write = self._host.logs.writer(job.account, job.region, LOG_GROUP, stream)
        deadline = time.monotonic() + job.max_runtime_seconds
        process = ContainerProcess(replace(spec, grace_seconds=_GRACE_SECONDS), job.training_job_name, write)
        try:
            while process.exit_code is None and not self._closing.wait(_TICK_SECONDS):
                if job.training_job_status == "Stopping" or time.monotonic() >= deadline:
                    break
        finally:
            exceeded = process.exit_code is None and time.monotonic() >= deadline
            process.stop()
            self._host.logs.flush()
        return process.exit_code or 0, exceeded

    def _environment(self, job: TrainingJob) -> dict[str, str]:
        """What SageMaker tells a container, with the credentials of the job's role."""
        with MOTO_LOCK:
            role = sts_backends[job.account]["aws"].assume_role(
                job.region, "SageMaker", job.request["RoleArn"], "", _CREDENTIAL_SECONDS, ""
            )
        return {
            "AWS_REGION": job.region,
            "AWS_DEFAULT_REGION": job.region,
            "AWS_ACCESS_KEY_ID": role.access_key_id,
            "AWS_SECRET_ACCESS_KEY": role.secret_access_key,
            "AWS_SESSION_TOKEN": role.session_token,
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "TRAINING_JOB_NAME": job.training_job_name,
            "TRAINING_JOB_ARN": job.arn,
            **(job.request.get("Environment") or {}),
            ML_VARIABLE: ML,
        }

    def _stopped_before(self, job: TrainingJob) -> bool:
        """Whether the job was stopped before its container began."""
        if self._closing.is_set():
            return True
        if job.training_job_status != "Stopping":
            return False
        self._end(job, stopped=True, exceeded=False)
        return True

    def _end(self, job: TrainingJob, *, stopped: bool, exceeded: bool) -> None:
        if exceeded:
            self._set(job, "Stopped", "MaxRuntimeExceeded", "Training job runtime exceeded MaxRuntimeInSeconds")
        elif stopped:
            self._set(job, "Stopped", "Stopped", "Training job stopped")
        else:
            self._set(job, "Completed", "Completed", "Training job completed")

    def _set(self, job: TrainingJob, status: str, secondary: str, message: str, reason: str = "") -> None:
        with MOTO_LOCK:
            if status == "InProgress" and job.training_job_status == "Stopping":
                return
            job.touch(status, secondary, message, reason)
        self._on_change("sagemaker")
