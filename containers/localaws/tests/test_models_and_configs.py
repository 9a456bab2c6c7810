"""SageMaker models and endpoint configs.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
"""

from __future__ import annotations

from typing import Any

import pytest
import tiny_image
from standin import ROLE, refused, variant

pytestmark = pytest.mark.integration
CAPTURE = {
    "EnableCapture": True, "InitialSamplingPercentage": 50, "DestinationS3Uri": "s3://bucket/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
}  # fmt: skip


@pytest.fixture
def sagemaker(aws: Any) -> Any:
    return aws("sagemaker")


def test_a_model_is_described_as_it_was_created(sagemaker: Any, image_uri: str, name: str) -> None:
    container = {
        "Image": image_uri, "Environment": {"A": "1"}, "ContainerHostname": "one", "Mode": "SingleModel",
        "ModelDataSource": {
            "S3DataSource": {"S3Uri": "s3://b/m/", "S3DataType": "S3Prefix", "CompressionType": "None"}
        },
    }  # fmt: skip
    vpc = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
    arn = sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, VpcConfig=vpc, EnableNetworkIsolation=True,
        Tags=[{"Key": "service", "Value": "flights"}],
    )["ModelArn"]  # fmt: skip
    described = sagemaker.describe_model(ModelName=name)
    assert described["ModelArn"] == arn == f"arn:aws:sagemaker:us-east-1:123456789012:model/{name}"
    assert described["PrimaryContainer"] == container
    assert (described["VpcConfig"], described["EnableNetworkIsolation"]) == (vpc, True)
    assert described["ExecutionRoleArn"] == ROLE
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "service", "Value": "flights"}]
    assert [each["ModelName"] for each in sagemaker.list_models(NameContains=name)["Models"]] == [name]
    assert sagemaker.list_models(NameContains=name, CreationTimeBefore=described["CreationTime"])["Models"] == []
    sagemaker.delete_model(ModelName=name)
    refused(sagemaker.describe_model, "Could not find model", ModelName=name)
    refused(sagemaker.delete_model, "Could not find model", ModelName=name)


def test_a_models_name_is_taken_once(sagemaker: Any, image_uri: str, name: str) -> None:
    request = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image_uri}}
    sagemaker.create_model(**request)
    refused(sagemaker.create_model, "Cannot create already existing model", name, **request)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/no/such:v1", "Requested image"),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway/tiny:none", "Requested image"),
        (f"123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway/tiny@sha256:{'0' * 64}", "Requested image"),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway/tiny", "is invalid"),
        ("docker.io/library/python:3.11", "Using non-ECR image"),
    ],
)
def test_images_that_are_refused(sagemaker: Any, image_uri: str, name: str, image: str, message: str) -> None:
    request = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image}}
    refused(sagemaker.create_model, message, image, **request)


def test_oci_manifests_are_refused(sagemaker: Any, aws: Any, name: str) -> None:
    """https://github.com/aws/amazon-sagemaker-feedback/issues/180"""
    oci = tiny_image.build(media_type="application/vnd.oci.image.manifest.v1+json")
    uri = tiny_image.push(aws("ecr"), oci, "slipway/oci", "v1")
    request = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": uri}}
    refused(sagemaker.create_model, "Unsupported manifest media type", **request)


def test_an_image_by_tag_is_accepted(sagemaker: Any, image_uri: str, name: str) -> None:
    by_tag = image_uri.partition("@")[0] + ":v1"
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": by_tag})
    assert sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["Image"] == by_tag


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ModelName": "under_score"}, ("modelName", "regular expression pattern")),
        ({"ModelName": "x" * 64}, ("modelName", "length less than or equal to 63")),
        ({"ExecutionRoleArn": "arn:aws:iam::1:user/somebody"}, ("executionRoleArn", "pattern")),
        ({"PrimaryContainer": {"Image": "i", "Mode": "Many"}}, ("primaryContainer.mode", "enum value set")),
    ],
)
def test_requests_are_held_against_the_published_model(
    sagemaker: Any, image_uri: str, name: str, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    request = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": image_uri}, **change}
    refused(sagemaker.create_model, "validation error detected", *words, **request)


def test_an_endpoint_config_is_described_as_it_was_created(sagemaker: Any, config_of: Any, name: str) -> None:
    variants = {"main": (0.0, {}), "other": (2.5, {})}
    security = {
        "ExecutionRoleArn": ROLE, "EnableNetworkIsolation": True,
        "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
    }  # fmt: skip
    config_of(name, variants, DataCaptureConfig=CAPTURE, KmsKeyId="alias/key", **security)
    described = sagemaker.describe_endpoint_config(EndpointConfigName=name)
    assert [each["InitialVariantWeight"] for each in described["ProductionVariants"]] == [0.0, 2.5]
    assert described["DataCaptureConfig"] == CAPTURE
    assert {key: described[key] for key in security} == security
    assert described["KmsKeyId"] == "alias/key"
    refused(
        sagemaker.create_endpoint_config, "Cannot create already existing endpoint configuration",
        EndpointConfigName=name, ProductionVariants=[variant("main", f"{name}-main")],
    )  # fmt: skip
    listed = sagemaker.list_endpoint_configs(NameContains=name)["EndpointConfigs"]
    assert [each["EndpointConfigName"] for each in listed] == [name]
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    refused(sagemaker.describe_endpoint_config, "Could not find endpoint configuration", EndpointConfigName=name)


@pytest.mark.parametrize(
    "instance_type", ["ml.m6i.large", "ml.m7i.xlarge", "ml.c6i.2xlarge", "ml.c7g.large", "ml.g5.xlarge", "ml.g6.xlarge"]
)
def test_current_instance_types_are_known(sagemaker: Any, image_uri: str, name: str, instance_type: str) -> None:
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image_uri})
    one = variant("main", name) | {"InstanceType": instance_type}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[one])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"InstanceType": "ml.imaginary.large"}, ("instanceType", "enum value set")),
        ({"InitialVariantWeight": -1.0}, ("initialVariantWeight", "greater than or equal to 0")),
        ({"ModelName": "no-such-model"}, ("Could not find model",)),
        ({"ContainerStartupHealthCheckTimeoutInSeconds": 10}, ("greater than or equal to 60",)),
        ({"InstanceType": None, "InitialInstanceCount": None}, ("InstanceType or a ServerlessConfig",)),
        ({"InitialInstanceCount": None}, ("InitialInstanceCount is required",)),
    ],
)
def test_variants_that_are_refused(
    sagemaker: Any, image_uri: str, name: str, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image_uri})
    wrong = {key: value for key, value in (variant("main", name) | change).items() if value is not None}
    refused(sagemaker.create_endpoint_config, *words, EndpointConfigName=name, ProductionVariants=[wrong])
    twice = [variant("main", name), variant("main", name)]
    refused(sagemaker.create_endpoint_config, "non-unique", EndpointConfigName=name, ProductionVariants=twice)


def test_tags_of_one_key_have_one_value(sagemaker: Any, config_of: Any, name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html"""
    config_of(name, {"main": (1.0, {})}, Tags=[{"Key": "a", "Value": "1"}])
    arn = sagemaker.describe_endpoint_config(EndpointConfigName=name)["EndpointConfigArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}])
    tags = {each["Key"]: each["Value"] for each in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert len(sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 2
    assert tags == {"a": "2", "b": "3"}
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "3"}]


def test_models_are_listed_in_pages(sagemaker: Any, image_uri: str, name: str) -> None:
    """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModels.html"""
    names = [f"{name}-{number}" for number in range(5)]
    for each in names:
        sagemaker.create_model(ModelName=each, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image_uri})
    pages = sagemaker.get_paginator("list_models").paginate(
        NameContains=name, SortBy="Name", SortOrder="Ascending", MaxResults=2
    )
    assert [[each["ModelName"] for each in page["Models"]] for page in pages] == [names[:2], names[2:4], names[4:]]
