"""Dashboards.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetDashboard.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DeleteDashboards.html
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

BODY = json.dumps({"widgets": [{"type": "text", "properties": {"markdown": "hello"}}]})


@pytest.fixture
def cloudwatch(aws: Any) -> Any:
    return aws("cloudwatch")


def code(error: Any) -> str:
    return str(error.value.response["Error"]["Code"])


def test_a_dashboard_is_kept_as_it_was_put_and_put_again_replaces_it(cloudwatch: Any, name: str) -> None:
    assert cloudwatch.put_dashboard(DashboardName=name, DashboardBody=BODY)["DashboardValidationMessages"] == []
    found = cloudwatch.get_dashboard(DashboardName=name)
    assert (found["DashboardName"], found["DashboardBody"]) == (name, BODY)
    assert found["DashboardArn"].endswith(f":dashboard/{name}")
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}')
    assert cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"] == '{"widgets": []}'
    assert [
        each["DashboardName"] for each in cloudwatch.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"]
    ] == [name]


def test_a_dashboard_that_is_deleted_is_gone(cloudwatch: Any, name: str) -> None:
    cloudwatch.put_dashboard(DashboardName=name, DashboardBody=BODY)
    cloudwatch.delete_dashboards(DashboardNames=[name])
    with pytest.raises(ClientError) as gone:
        cloudwatch.get_dashboard(DashboardName=name)
    assert code(gone) == "ResourceNotFound"
    with pytest.raises(ClientError) as again:
        cloudwatch.delete_dashboards(DashboardNames=[name])
    assert code(again) == "ResourceNotFound"


def test_a_body_that_is_no_json_is_refused(cloudwatch: Any, name: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloudwatch.put_dashboard(DashboardName=name, DashboardBody="{widgets")
    assert code(refused) == "InvalidParameterInput"
