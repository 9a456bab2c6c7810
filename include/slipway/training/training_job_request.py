"""What SageMaker is asked for when a run's training is to be one of its training jobs.

Names and limits: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.endpoints.requests import role_arn, tag_value
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    from slipway.endpoints.requests import Account
    from slipway.platform import Platform
    from slipway.spec import ServiceSpec
    from slipway.spec.compute import SageMakerSpec

JOB_CHANNEL, CODE_CHANNEL = "job", "code"
_CHECKPOINTS = "/opt/ml/checkpoints"


@dataclass(frozen=True)
class JobOrder:
    """Everything about a run's training job that does not change from one attempt to the next.

    Args:
        service: Name of the service.
        run_id: The DAG run.
        document: The trainer's job, but for the service's own code, which is in ``code``.
        code: Files of the service's own, by the path below ``channel://code/``.
        place: Where the run's files go, ``s3://bucket/prefix``.
        compute: The spec's section.
        image: The trainer's image.
        role_arn: The job's role.
        max_runtime_seconds: After which SageMaker ends the training.
        tags: Tags of the job.
    """

    service: str
    run_id: str
    document: Mapping[str, Any]
    place: str
    compute: SageMakerSpec
    image: str
    role_arn: str
    max_runtime_seconds: int
    code: Mapping[str, Path] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def job_name(self, attempt: int) -> str:
        """Name of an attempt's job: the same for every try of the run's task, another in every installation.

        At most 32 + 1 + 12 + 1 + 2 characters; SageMaker takes 63.
        """
        digest = hashlib.sha256(f"{self.service}/{self.run_id} {self.place}".encode()).hexdigest()[:12]
        return f"{self.service}-{digest}-{attempt}"

    def folder(self, name: str) -> str:
        """Where an attempt's files go."""
        return f"{self.place}/{name}"


def job_order(
    spec: ServiceSpec,
    platform: Platform,
    account: Account,
    *,
    run_id: str,
    document: Mapping[str, Any],
    code: Mapping[str, Path],
    place: str,
    image: str | None = None,
) -> JobOrder:
    """Make the order of one run's training job from the spec.

    Args:
        spec: The service; ``retrain.compute`` names SageMaker.
        platform: The installation.
        account: Where the job runs.
        run_id: The DAG run.
        document: The trainer's job.
        code: The service's own files, by the path below ``channel://code/``.
        place: Where the run's files go, ``s3://bucket/prefix``.
        image: The trainer's image, for a spec that names none.

    Raises:
        InvalidInputError: The spec names no SageMaker, or nobody an image.
    """
    retrain = spec.retrain
    compute = retrain.compute.sagemaker if retrain and retrain.compute else None
    if retrain is None or compute is None:
        raise InvalidInputError(f"{spec.name} names no retrain.compute.sagemaker")
    named = compute.image or image
    if named is None:
        raise InvalidInputError(f"{spec.name} names no retrain.compute.sagemaker.image, and none was built")
    own = {"slipway:service": spec.name, "slipway:owner": spec.owner, "slipway:run-id": run_id}
    return JobOrder(
        service=spec.name,
        run_id=run_id,
        document={**document, "mlflow_secret": compute.mlflow_secret} if compute.mlflow_secret else document,
        place=place,
        compute=compute,
        image=named.replace("{account_id}", account.account_id).replace("{region}", account.region),
        role_arn=role_arn(compute.role or platform.execution_role, account),
        max_runtime_seconds=math.ceil(retrain.max_hours * 3600),
        code=code,
        tags={**platform.tags, **spec.tags, **{key: tag_value(value) for key, value in own.items()}},
    )


def training_job_request(order: JobOrder, name: str) -> dict[str, Any]:
    """Build the CreateTrainingJob request of an attempt.

    Args:
        order: The training job.
        name: Of this attempt's job.
    """
    compute, folder = order.compute, order.folder(name)
    stopping = {"MaxRuntimeInSeconds": order.max_runtime_seconds}
    if compute.spot:
        # The time that a spot job may take in all, waiting included; never below MaxRuntimeInSeconds.
        stopping["MaxWaitTimeInSeconds"] = order.max_runtime_seconds + int(compute.max_wait_hours * 3600)
    resources = {"InstanceType": compute.instance_type, "InstanceCount": 1, "VolumeSizeInGB": compute.volume_gb}
    output = {"S3OutputPath": order.place}
    if compute.kms_key_id:
        resources["VolumeKmsKeyId"] = compute.kms_key_id
        output["KmsKeyId"] = compute.kms_key_id
    channels = [JOB_CHANNEL, *([CODE_CHANNEL] if order.code else [])]
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": order.image, "TrainingInputMode": "File"},
        "RoleArn": order.role_arn,
        "HyperParameters": {"command": "train"},
        "InputDataConfig": [_channel(each, f"{folder}/{each}/") for each in channels],
        "OutputDataConfig": output,
        "ResourceConfig": resources,
        "StoppingCondition": stopping,
        "EnableManagedSpotTraining": compute.spot,
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(order.tags.items())],
    }
    if compute.subnets:
        request["VpcConfig"] = {
            "Subnets": list(compute.subnets),
            "SecurityGroupIds": list(compute.security_group_ids),
        }
    if compute.checkpoints:
        request["CheckpointConfig"] = {"S3Uri": f"{order.place}/checkpoints", "LocalPath": _CHECKPOINTS}
    return request


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}
