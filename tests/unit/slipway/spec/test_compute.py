from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from slipway.spec.retrain import RetrainSpec

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/trainer:1"


def retrain(compute: dict[str, Any], **more: Any) -> RetrainSpec:
    return RetrainSpec.model_validate({"data": {"s3": "s3://lake/flights/"}, "compute": compute, **more})


@pytest.mark.parametrize(
    "image",
    [
        IMAGE,
        "{account_id}.dkr.ecr.{region}.amazonaws.com/trainer@sha256:" + "0" * 64,
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/a/b_c:v1.2@sha256:" + "a" * 64,
    ],
)
def test_an_image_in_ecr_is_all_that_is_needed(image):
    compute = retrain({"sagemaker": {"image": image}}).compute
    assert compute
    assert compute.sagemaker
    assert compute.sagemaker.instance_type == "ml.m5.xlarge"
    assert (compute.mlflow_secret, compute.wait_hours) == (None, 0.0)


@pytest.mark.parametrize(
    "image", ["trainer:1", IMAGE.removesuffix(":1"), "docker.io/slipway/trainer:1", IMAGE.replace("1234", "12")]
)
def test_other_images_are_refused(image):
    with pytest.raises(ValidationError, match="an image in ECR with its tag or digest"):
        retrain({"sagemaker": {"image": image}})


def test_the_section_names_one_thing_to_train_on():
    with pytest.raises(ValidationError, match="exactly one of sagemaker"):
        retrain({})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subnets": ["subnet-1"]}, "security_group_ids as well: SageMaker takes both or none"),
        ({"max_wait_hours": 2.0}, "spot: true beside max_wait_hours"),
        ({"checkpoints": True}, "spot: true beside checkpoints"),
        ({"spot": True, "checkpoints": True}, "a retrainer of your own beside checkpoints: ours begin anew"),
        ({"mlflow_secret": "my secret"}, "the name or ARN of a secret"),
    ],
)
def test_settings_that_would_mean_nothing_are_refused(given, message):
    with pytest.raises(ValidationError, match=message):
        retrain({"sagemaker": {"image": IMAGE, **given}})


def test_spot_instances_are_waited_for_beside_the_training():
    section = {"image": IMAGE, "spot": True, "max_wait_hours": 2.0, "checkpoints": True, "mlflow_secret": "mlflow"}
    compute = retrain({"sagemaker": section}, retrainer="own.py:Own").compute
    assert compute
    assert (compute.wait_hours, compute.mlflow_secret) == (2.0, "mlflow")


def test_emr_serverless_needs_an_application_alone():
    compute = retrain({"emr_serverless": {"application_id": "00f1a2b3"}}).compute
    assert compute
    assert compute.emr_serverless
    assert (compute.mlflow_secret, compute.wait_hours) == (None, 0.0)
    with_secret = retrain({"emr_serverless": {"application_id": "00f1a2b3", "mlflow_secret": "mlflow/trainer"}})
    assert with_secret.compute
    assert with_secret.compute.mlflow_secret == "mlflow/trainer"


@pytest.mark.parametrize(
    ("compute", "more", "told"),
    [
        ({"application_id": "00F1/x"}, {}, "the id of an EMR Serverless application"),
        ({"archive": "s3://code/trainer.zip"}, {}, "a packed Python environment in S3"),
        ({"log_uri": "s3://logs/emr"}, {}, "a folder in S3"),
        ({}, {"engine": "python"}, "engine: spark, since compute.emr_serverless runs Spark alone"),
        ({}, {"spark": {"spark.master": "yarn"}}, "no spark.master beside compute.emr_serverless"),
        ({}, {"spark": {"spark.remote": "sc://x:1"}}, "no spark.remote beside compute.emr_serverless"),
        (
            {"archive": "s3://code/t.tar.gz"},
            {"spark": {"spark.archives": "s3://x/y.tar.gz#z"}},
            r"spark\.archives or compute\.emr_serverless\.archive, not both",
        ),
        (
            {},
            {"data": {"table": "sales.parcels"}, "time_column": "at"},
            r"data\.s3 or data\.jdbc beside compute\.emr_serverless",
        ),
    ],
)
def test_what_emr_serverless_cannot_do_is_refused(compute, more, told):
    with pytest.raises(ValidationError, match=told):
        retrain({"emr_serverless": {"application_id": "00f1a2b3", **compute}}, **more)


def test_two_kinds_of_compute_are_refused():
    both = {"sagemaker": {"image": IMAGE}, "emr_serverless": {"application_id": "00f1"}}
    with pytest.raises(ValidationError, match="exactly one of sagemaker and emr_serverless; found"):
        retrain(both)
