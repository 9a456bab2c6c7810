"""Requests follow from spec, stage, release and platform, and keep every constraint that AWS publishes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.endpoints.requests import (
    Account,
    capture_uri,
    production_variant,
    resource_tags,
    role_arn,
    tag_list,
    variant_name,
    wanted_endpoint,
)
from slipway.errors import InvalidSpecError
from slipway.platform import Platform

SECURITY = {
    "kms_key_id": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    "subnets": ("subnet-0a1b2c3d", "subnet-1a1b2c3d"),
    "security_group_ids": ("sg-0a1b2c3d",),
    "network_isolation": True,
}


def every_request(wanted: Any) -> list[tuple[str, dict[str, Any]]]:
    return [
        *(("CreateModel", model) for model in wanted.models),
        ("CreateEndpointConfig", wanted.config),
        ("CreateEndpoint", wanted.create_request()),
        ("UpdateEndpoint", wanted.update_request()),
    ]


def tags_of(request: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in request["Tags"]}


@pytest.mark.parametrize("stage", ["dev", "prod"])
@pytest.mark.parametrize("security", [{}, SECURITY])
def test_requests_are_valid_and_complete(
    make_spec: Any, make_release: Any, platform: Any, account: Any, assert_valid: Any, stage: Any, security: Any
) -> None:
    spec = make_spec(security=security, serving={"environment": {"LOG_LEVEL": "info"}})
    wanted = wanted_endpoint(spec, stage, make_release(), platform, account, bucket="artifacts")
    for operation, request in every_request(wanted):
        assert_valid(operation, request)
    (model,) = wanted.models
    (variant,) = wanted.config["ProductionVariants"]
    assert wanted.name == f"flights-{stage}"
    assert model["PrimaryContainer"] == {"Image": make_release().image_uri, "Environment": {"LOG_LEVEL": "info"}}
    assert model["ExecutionRoleArn"] == "arn:aws:iam::123456789012:role/slipway-endpoint"
    assert model["EnableNetworkIsolation"] is True
    assert variant == {
        "VariantName": make_release().id,
        "ModelName": model["ModelName"],
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": {"dev": 1, "prod": 2}[stage],
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": 600,
    }
    assert ("VpcConfig" in model) == bool(security)
    assert wanted.config.get("KmsKeyId") == security.get("kms_key_id")


def test_only_production_is_captured(make_spec: Any, make_release: Any, platform: Any, account: Any) -> None:
    spec = make_spec(monitor={"capture_pct": 20}, security=SECURITY)
    assert (
        "DataCaptureConfig"
        not in wanted_endpoint(spec, "dev", make_release(), platform, account, bucket="artifacts").config
    )
    capture = wanted_endpoint(spec, "prod", make_release(), platform, account, bucket="artifacts").config[
        "DataCaptureConfig"
    ]
    assert capture["InitialSamplingPercentage"] == 20
    assert capture["DestinationS3Uri"] == capture_uri("artifacts")
    assert capture["DestinationS3Uri"] == "s3://artifacts/captures"
    assert capture["KmsKeyId"] == SECURITY["kms_key_id"]
    assert {option["CaptureMode"] for option in capture["CaptureOptions"]} == {"Input", "Output"}
    off = make_spec(monitor={"capture_pct": 0})
    assert (
        "DataCaptureConfig"
        not in wanted_endpoint(off, "prod", make_release(), platform, account, bucket="artifacts").config
    )


def test_lineage_is_on_every_resource(make_spec: Any, make_release: Any, platform: Any, account: Any) -> None:
    spec = make_spec(tags={"team": "aviation", "cost": "42"})
    wanted = wanted_endpoint(spec, "prod", make_release(), platform, account, bucket="artifacts")
    for request in (*wanted.models, wanted.config, wanted.create_request()):
        assert tags_of(request) == {
            "cost": "42",
            "team": "aviation",
            "slipway:service": "flights",
            "slipway:stage": "prod",
            "slipway:owner": "ml@example.com",
            "slipway:release": make_release().id,
            "slipway:model": "flights-delay",
            "slipway:model-version": "3",
            "slipway:image-digest": "sha256:" + "0" * 64,
            "slipway:run-id": "r1",
        }


def test_more_tags_than_aws_takes_are_refused(make_spec: Any, make_release: Any) -> None:
    platform = Platform(execution_role="r", tags={f"p{number}": "x" for number in range(25)})
    spec = make_spec(tags={f"s{number}": "x" for number in range(25)})
    with pytest.raises(InvalidSpecError, match="flights: 58 tags on each resource, expected at most 50: 25 come"):
        resource_tags(spec, "dev", make_release(), platform)


def test_stages_have_their_own_role_and_model(make_spec: Any, make_release: Any, platform: Any, account: Any) -> None:
    spec = make_spec(stages={"prod": {"execution_role": "arn:aws:iam::999999999999:role/prod"}})
    dev, prod = (
        wanted_endpoint(spec, stage, make_release(), platform, account, bucket="artifacts") for stage in ("dev", "prod")
    )
    assert prod.models[0]["ExecutionRoleArn"] == "arn:aws:iam::999999999999:role/prod"
    assert dev.models[0]["ModelName"] != prod.models[0]["ModelName"]
    same_role = make_spec()
    dev, prod = (
        wanted_endpoint(same_role, stage, make_release(), platform, account, bucket="artifacts")
        for stage in ("dev", "prod")
    )
    assert dev.models[0]["ModelName"] != prod.models[0]["ModelName"]


@pytest.mark.parametrize(
    ("region", "arn"),
    [
        ("us-east-1", "arn:aws:iam::1:role/r"),
        ("cn-north-1", "arn:aws-cn:iam::1:role/r"),
        ("us-gov-west-1", "arn:aws-us-gov:iam::1:role/r"),
    ],
)
def test_roles_by_name_belong_to_the_regions_partition(region: str, arn: str) -> None:
    assert role_arn("r", Account("1", region)) == arn
    assert role_arn(arn, Account("2", "us-east-1")) == arn


def test_the_variant_is_the_release_except_for_guardrails(make_spec: Any, make_release: Any, assert_valid: Any) -> None:
    assert variant_name("canary", make_release().id) == make_release().id
    assert variant_name("guardrail", make_release().id) == "main"
    variant = production_variant("a", "m", make_spec().stage("prod"), weight=0, instances=1)
    assert (variant["InitialVariantWeight"], variant["InitialInstanceCount"]) == (0.0, 1)
    assert_valid("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant]})


def test_names_follow_from_content_alone(make_spec: Any, make_release: Any, platform: Any, account: Any) -> None:
    def wanted(stage: Any = "prod", seed: str = "a", **sections: Any) -> Any:
        return wanted_endpoint(make_spec(**sections), stage, make_release(seed), platform, account, bucket="artifacts")

    one = wanted()
    assert one == wanted()
    others = [
        wanted(stages={"prod": {"instance_type": "ml.c5.large"}}),
        wanted(stages={"prod": {"instances": {"min": 3}}}),
        wanted(monitor={"capture_pct": 1}),
        wanted(security={"network_isolation": False}),
        wanted(seed="b"),
        wanted("dev"),
    ]
    assert len({each.config_name for each in [one, *others]}) == 1 + len(others)
    retagged = wanted(tags={"a": "b"}, owner="x")
    assert retagged.config_name == one.config_name
    assert retagged.models[0]["ModelName"] == one.models[0]["ModelName"]


def test_the_constraint_checker_of_these_tests_does_find_violations(assert_valid: Any) -> None:
    variant = {"VariantName": "a", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    for broken in ({"InstanceType": "ml.x9.large"}, {"VariantName": "a_b"}, {"VariantName": "a" * 64}, {"Weight": 1}):
        with pytest.raises(AssertionError):
            assert_valid("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant | broken]})


@settings(max_examples=50)
@given(model=st.text(min_size=1, max_size=300), run_id=st.text(max_size=300))
def test_any_model_name_makes_valid_tags(
    make_spec: Any, make_release: Any, platform: Any, assert_valid: Any, model: str, run_id: str
) -> None:
    tags = resource_tags(make_spec(), "dev", make_release(model=model, created_from={"run_id": run_id}), platform)
    assert_valid(
        "AddTags", {"ResourceArn": "arn:aws:sagemaker:eu-central-1:123456789012:model/m", "Tags": tag_list(tags)}
    )
