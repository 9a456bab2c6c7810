"""What is asked of SageMaker when production is in another account than the artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from slipway.platform import Platform
from slipway.release import Release, ReleaseInputs, release_id
from slipway.spec import ServiceSpec
from slipway_airflow.operators.stage import StageOperator
from tests.unit.slipway_airflow.conftest import BUCKET, REGION

PROD_ACCOUNT = "210987654321"


@pytest.fixture
def release() -> Release:
    inputs = ReleaseInputs(
        artifact_manifest_digest="a",
        lock_digest="l",
        base_image_digest="scratch",
        serving_app_digest="s",
        serving_spec={},
    )
    return Release(
        service="flights",
        id=release_id(inputs),
        model="flights-delay",
        version=1,
        image_uri="123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway/flights@sha256:" + "0" * 64,
        inputs=inputs,
        created_from={},
    )


@pytest.fixture
def operator(
    aws: Callable[[str], Any],
    aws_server: str,
    monkeypatch: pytest.MonkeyPatch,
    spec: ServiceSpec,
    platform: Platform,
) -> StageOperator:
    role = f"arn:aws:iam::{PROD_ACCOUNT}:role/prod"
    key = aws("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    extra = {"region_name": REGION, "endpoint_url": aws_server, "aws_session_token": key["SessionToken"]}
    connection = {"conn_type": "aws", "login": key["AccessKeyId"], "password": key["SecretAccessKey"], "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PROD", json.dumps(connection))
    return StageOperator(
        task_id="stage",
        stage="prod",
        spec=spec,
        platform=platform,
        aws_conn_id="aws_prod",
        bucket_conn_id="aws_default",
    )


def test_traffic_is_captured_into_the_bucket_in_which_it_is_looked_for(
    operator: StageOperator, release: Release
) -> None:
    wanted = operator.wanted_for(release)
    assert wanted.config["DataCaptureConfig"]["DestinationS3Uri"] == f"s3://{operator.bucket.name}/captures"
    assert operator.bucket.name == BUCKET
    assert f"::{PROD_ACCOUNT}:role/" in wanted.models[0]["ExecutionRoleArn"], "all else is of the endpoint's account"


def test_a_size_of_the_run_goes_before_one_that_follows_from_the_traffic(
    operator: StageOperator, release: Release
) -> None:
    def instances(count: int | None) -> int:
        return int(operator.wanted_for(release, count).config["ProductionVariants"][0]["InitialInstanceCount"])

    assert (instances(None), instances(4)) == (2, 4)
    operator.instance_count = 3
    assert (instances(None), instances(4)) == (3, 3)
