"""From a task to its endpoint in the AWS console."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class EndpointLink(BaseAwsLink):
    """Opens the endpoint in the SageMaker console."""

    name = "SageMaker endpoint"
    key = "slipway_endpoint"
    format_str = BASE_AWS_CONSOLE_LINK + "/sagemaker/home?region={region_name}#/endpoints/{endpoint_name}"
