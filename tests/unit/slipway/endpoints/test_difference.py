"""Descriptions differ from requests only where something is really different."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.endpoints.difference import differences, require_same
from slipway.endpoints.requests import wanted_endpoint
from slipway.errors import ResourceConflictError

SECURITY = {"kms_key_id": "key", "subnets": ("subnet-1", "subnet-2"), "security_group_ids": ("sg-1", "sg-2")}


@pytest.fixture(scope="module")
def wanted(make_spec: Any, make_release: Any, platform: Any, account: Any) -> Any:
    return wanted_endpoint(make_spec(security=SECURITY), "prod", make_release(), platform, account, bucket="artifacts")


def as_aws_returns_it(request: dict[str, Any]) -> dict[str, Any]:
    """Times, ARNs, defaults, another order, no tags."""
    described = copy.deepcopy(request)
    del described["Tags"]
    described |= {"CreationTime": datetime.now(UTC), "ResponseMetadata": {"RequestId": "x"}}
    if "PrimaryContainer" in described:
        described |= {"ModelArn": "arn:aws:sagemaker:eu-central-1:1:model/m"}
        described["PrimaryContainer"] |= {"Mode": "SingleModel", "Environment": {}}
        described["VpcConfig"]["Subnets"].reverse()
        described["VpcConfig"]["SecurityGroupIds"].reverse()
    else:
        described |= {"EndpointConfigArn": "arn", "EnableNetworkIsolation": False, "ShadowProductionVariants": []}
        described["DataCaptureConfig"]["CaptureOptions"].reverse()
        described["ProductionVariants"][0]["InitialVariantWeight"] = 1
    return described


def test_what_aws_adds_is_no_drift(wanted: Any) -> None:
    for request in (*wanted.models, wanted.config):
        assert differences(request, as_aws_returns_it(request)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ProductionVariants", 0, "InstanceType"), "ml.c5.large"),
        (("ProductionVariants", 0, "InitialInstanceCount"), 5),
        (("ProductionVariants", 0, "InitialVariantWeight"), 0.0),
        (("ProductionVariants", 0, "ModelName"), "other"),
        (("ProductionVariants", 0, "VariantName"), "other"),
        (("ProductionVariants", 0, "ContainerStartupHealthCheckTimeoutInSeconds"), None),
        (("DataCaptureConfig",), None),
        (("DataCaptureConfig", "EnableCapture"), False),
        (("DataCaptureConfig", "InitialSamplingPercentage"), 1),
        (("KmsKeyId",), "other"),
        (("AsyncInferenceConfig",), {"OutputConfig": {"S3OutputPath": "s3://x"}}),
    ],
)
def test_each_real_difference_is_named(wanted: Any, path: tuple[Any, ...], value: Any) -> None:
    described = as_aws_returns_it(wanted.config)
    place = described
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    found = differences(wanted.config, described)
    assert found
    assert str(path[0]) in found[0].field
    with pytest.raises(ResourceConflictError, match=f"endpoint config {wanted.config_name} with other content"):
        require_same("endpoint config", wanted.config_name, wanted.config, described)


def test_a_model_that_lost_its_isolation_or_image_is_named(wanted: Any) -> None:
    (request,) = wanted.models
    described = as_aws_returns_it(request)
    described["EnableNetworkIsolation"] = False
    described["PrimaryContainer"]["Image"] = "another"
    assert {difference.field for difference in differences(request, described)} == {
        "EnableNetworkIsolation",
        "PrimaryContainer.Image",
    }
    with pytest.raises(ResourceConflictError, match="EnableNetworkIsolation is None, expected True"):
        require_same("model", "m", request, described)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
    max_leaves=10,
)
requests = st.dictionaries(st.text(min_size=1, max_size=3), json_values, max_size=4)


@given(request=requests)
def test_anything_equals_itself(request: Any) -> None:
    assert differences(request, copy.deepcopy(request)) == []


@given(one=requests, other=requests)
def test_difference_is_symmetric(one: Any, other: Any) -> None:
    assert {found.field for found in differences(one, other)} == {found.field for found in differences(other, one)}
