"""The API actions on training jobs.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

from typing import Any

from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException
from moto.sagemaker.models import SageMakerModelBackend
from moto.sagemaker.responses import SageMakerResponse

from slipway_localaws.hosting.images import ImageRefusedError, ImageStore
from slipway_localaws.hosting.training import Trainer
from slipway_localaws.patching import add_action, replace
from slipway_localaws.sagemaker.actions import as_action
from slipway_localaws.sagemaker.planning import Parameters
from slipway_localaws.sagemaker.training_record import TrainingJob


def install(trainer: Trainer, images: ImageStore) -> None:
    """Put these actions in the place of moto's.

    Args:
        trainer: runs the jobs.
        images: finds their images.
    """
    actions = TrainingActions(trainer, images)
    for name in ("create_training_job", "describe_training_job"):
        replace(SageMakerResponse, name, as_action(getattr(actions, name)))
    add_action(SageMakerResponse, "stop_training_job", as_action(actions.stop_training_job))


class TrainingActions:
    """The handlers; each gets the backend of the caller's account and region, and checked parameters."""

    def __init__(self, trainer: Trainer, images: ImageStore) -> None:
        self._trainer = trainer
        self._images = images

    def create_training_job(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """CreateTrainingJob: status InProgress, then Completed, Failed or Stopped."""
        name = parameters["TrainingJobName"]
        if name in backend.training_jobs:
            raise ResourceInUseException("Training job names must be unique within an AWS account and region.")
        _check(parameters)
        image = parameters["AlgorithmSpecification"]["TrainingImage"]
        try:
            found = self._images.resolve(image, account=backend.account_id, region=backend.region_name)
        except ImageRefusedError as error:
            raise AWSValidationException(str(error)) from None
        job = TrainingJob(backend.account_id, backend.region_name, parameters, found.digest)
        backend.training_jobs[name] = job  # type: ignore[assignment]  # moto's own jobs are over when they begin
        self._trainer.start(job)
        return {"TrainingJobArn": job.arn}

    def describe_training_job(self, backend: SageMakerModelBackend, parameters: Parameters) -> dict[str, Any]:
        """DescribeTrainingJob."""
        return _find(backend, parameters["TrainingJobName"]).response_object

    def stop_training_job(self, backend: SageMakerModelBackend, parameters: Parameters) -> None:
        """StopTrainingJob: SIGTERM, and SIGKILL two minutes later."""
        job = _find(backend, parameters["TrainingJobName"])
        if job.ended:
            raise AWSValidationException(
                f"The request was rejected because the training job is in status {job.training_job_status}."
            )
        if job.training_job_status == "InProgress":
            self._trainer.stop(job)


def _find(backend: SageMakerModelBackend, name: str) -> TrainingJob:
    job = backend.training_jobs.get(name)
    if not isinstance(job, TrainingJob):
        raise AWSValidationException("Requested resource not found.")
    return job


def _check(parameters: Parameters) -> None:
    """Rules between fields, which botocore's model does not hold."""
    algorithm, stopping = parameters.get("AlgorithmSpecification") or {}, parameters.get("StoppingCondition") or {}
    if not algorithm.get("TrainingImage"):
        raise AWSValidationException("Jobs without AlgorithmSpecification.TrainingImage are not run by the stand-in.")
    resources = parameters.get("ResourceConfig") or {}
    if resources.get("InstanceCount") != 1 or not resources.get("InstanceType"):
        raise AWSValidationException("Only jobs with a ResourceConfig of one instance are run by the stand-in.")
    if not parameters.get("StoppingCondition") or not parameters.get("OutputDataConfig"):
        raise AWSValidationException("StoppingCondition and OutputDataConfig are required.")
    longest, wait = stopping.get("MaxRuntimeInSeconds") or 0, stopping.get("MaxWaitTimeInSeconds")
    if parameters.get("EnableManagedSpotTraining") and (wait is None or wait < longest):
        raise AWSValidationException(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds."
        )
    if wait is not None and not parameters.get("EnableManagedSpotTraining"):
        raise AWSValidationException("MaxWaitTimeInSeconds is allowed only with EnableManagedSpotTraining.")
    names = [each["ChannelName"] for each in parameters.get("InputDataConfig") or ()]
    if len(set(names)) < len(names):
        raise AWSValidationException("Channel names must be unique within a training job.")
    for channel in parameters.get("InputDataConfig") or ():
        source = channel["DataSource"].get("S3DataSource") or {}
        mode = channel.get("InputMode") or algorithm["TrainingInputMode"]
        if source.get("S3DataType") != "S3Prefix" or mode == "Pipe":
            raise AWSValidationException("Only channels of S3 prefixes in mode File or FastFile are filled here.")
