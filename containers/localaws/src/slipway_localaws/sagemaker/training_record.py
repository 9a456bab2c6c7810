"""Training jobs as the control plane keeps them, in moto's own dictionary."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.sagemaker.utils import arn_formatter

from slipway_localaws.sagemaker.records import now

_ENDED = frozenset({"Completed", "Failed", "Stopped"})
_DEFAULT_RUNTIME_SECONDS = 86_400


class TrainingJob:
    """A training job with everything that CreateTrainingJob was given.

    Args:
        account, region: where it was created.
        request: the CreateTrainingJob request.
        digest: of its image.
    """

    def __init__(self, account: str, region: str, request: Mapping[str, Any], digest: str) -> None:
        self.account, self.region, self.digest = account, region, digest
        self.request = copy.deepcopy({key: value for key, value in request.items() if key != "Tags"})
        self.tags = list(request.get("Tags") or [])
        self.training_job_name: str = request["TrainingJobName"]
        self.arn = arn_formatter("training-job", self.training_job_name, account, region)
        self.creation_time = self.last_modified_time = now()
        self.training_start_time: datetime | None = None
        self.training_end_time: datetime | None = None
        self.failure_reason = ""
        self.transitions: list[dict[str, Any]] = []
        self.touch("InProgress", "Starting", "Starting the training job")

    @property
    def max_runtime_seconds(self) -> float:
        """After which the training is ended."""
        return float(self.request["StoppingCondition"].get("MaxRuntimeInSeconds") or _DEFAULT_RUNTIME_SECONDS)

    @property
    def output_uri(self) -> str:
        """Folder of what the job leaves in S3."""
        return f"{self.request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.training_job_name}/output"

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.training_job_status in _ENDED

    def touch(self, status: str, secondary: str, message: str, reason: str = "") -> None:
        """Change the status."""
        self.training_job_status, self.secondary_status = status, secondary
        self.failure_reason = reason
        self.last_modified_time = at = now()
        if self.transitions:
            self.transitions[-1].setdefault("EndTime", at)
        self.transitions.append({"Status": secondary, "StartTime": at, "StatusMessage": message})
        if secondary == "Training":
            self.training_start_time = at
        if self.ended:
            self.transitions[-1]["EndTime"] = self.training_end_time = at

    @property
    def response_object(self) -> dict[str, Any]:
        """The answer of DescribeTrainingJob."""
        described = copy.deepcopy(self.request)
        described |= {
            "TrainingJobArn": self.arn,
            "ModelArtifacts": {"S3ModelArtifacts": f"{self.output_uri}/model.tar.gz"},
            "TrainingJobStatus": self.training_job_status,
            "SecondaryStatus": self.secondary_status,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.last_modified_time,
            "SecondaryStatusTransitions": copy.deepcopy(self.transitions),
        }
        for name in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
            described.setdefault(name, False)
        if self.failure_reason:
            described["FailureReason"] = self.failure_reason
        if self.training_start_time:
            described["TrainingStartTime"] = self.training_start_time
        if self.training_end_time:
            described["TrainingEndTime"] = self.training_end_time
        if self.training_start_time and self.training_end_time:
            seconds = max(1, round((self.training_end_time - self.training_start_time).total_seconds()))
            described |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
        return described
