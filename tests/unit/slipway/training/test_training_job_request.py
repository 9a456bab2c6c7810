from __future__ import annotations

import re

import pytest

from slipway.errors import InvalidInputError
from slipway.training.training_job_request import training_job_request

from .training_orders import PLACE, order, service


def test_the_names_follow_from_service_run_and_attempt_and_fit_sagemaker():
    first = order()
    assert first.job_name(1) == order().job_name(1)
    elsewhere = order(place=PLACE.replace("bucket", "another"))  # another installation in the same account
    others = [first.job_name(2), order(run_id="manual__2").job_name(1), elsewhere.job_name(1)]
    assert len({first.job_name(1), *others}) == 4
    long = order(service().model_copy(update={"name": "x" * 32}), run_id="scheduled__2026-11-22T00:00:00+00:00")
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", long.job_name(99))


def test_a_spec_without_an_image_takes_the_one_that_was_built_and_no_other():
    built = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/trainer@sha256:" + "0" * 64
    without = service(image=None)
    assert order(without, image=built).image == built
    assert order(image=built).image == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/trainer:1"
    with pytest.raises(InvalidInputError, match=r"names no retrain\.compute\.sagemaker\.image"):
        order(without)


def test_the_request_says_what_the_spec_says(tmp_path):
    spec = service(
        {"max_hours": 2.0, "retrainer": "own.py:Own"},
        spot=True,
        max_wait_hours=3.0,
        checkpoints=True,
        kms_key_id="alias/training",
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        volume_gb=50,
        instance_type="ml.c5.xlarge",
        role="trainers",
        mlflow_secret="mlflow",
    )
    (tmp_path / "own.py").write_text("")
    made = order(spec, code={"own.py": tmp_path / "own.py"})
    request = training_job_request(made, "flights-x-1")
    assert made.document["mlflow_secret"] == "mlflow"
    assert request["AlgorithmSpecification"]["TrainingImage"] == (
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/trainer:1"
    )
    assert request["RoleArn"] == "arn:aws:iam::123456789012:role/trainers"
    assert request["ResourceConfig"] == {
        "InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50, "VolumeKmsKeyId": "alias/training",
    }  # fmt: skip
    assert request["OutputDataConfig"] == {"S3OutputPath": PLACE, "KmsKeyId": "alias/training"}
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 18_000}
    assert request["EnableManagedSpotTraining"] is True
    assert request["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert request["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert [each["ChannelName"] for each in request["InputDataConfig"]] == ["job", "code"]
    tags = {each["Key"]: each["Value"] for each in request["Tags"]}
    assert tags == {"team": "ml", "slipway:service": "flights", "slipway:owner": "o", "slipway:run-id": "manual__1"}


def test_without_spot_nothing_is_waited_for():
    request = training_job_request(order(), "flights-x-1")
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 21_600}
    assert not {"VpcConfig", "CheckpointConfig"} & set(request)
