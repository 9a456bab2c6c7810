from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from slipway.canary.metric_source import COMPARISONS, CloudWatchMetricSource
from slipway.canary.window import MetricWindow
from slipway.errors import AccessDeniedError, AwsUnavailableError, SlipwayError, ThrottledError

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
WINDOW = MetricWindow(start=START, period_seconds=60, periods=2)


def series(name: str, values: list[float], status: str = "Complete", **more: Any) -> dict[str, Any]:
    stamps = [START + timedelta(minutes=number) for number in range(len(values))]
    return {"Id": name, "Timestamps": stamps, "Values": values, "StatusCode": status, **more}


def counts_of(*pages: list[dict[str, Any]]) -> Any:
    client = boto3.client("cloudwatch", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as answers:
        for number, page in enumerate(pages, 1):
            more = {"NextToken": str(number)} if number < len(pages) else {}
            answers.add_response("get_metric_data", {"MetricDataResults": page, **more})
        source = CloudWatchMetricSource(client, endpoint="e", challenger="new", champion="old", latency_slo_ms=800)
        return source.counts(WINDOW)


def test_counts_of_all_pages_are_put_into_periods() -> None:
    counts = counts_of(
        [series("challenger_requests", [10.0], "PartialData"), series("challenger_error", [1.0])],
        [series("challenger_requests", [10.0, 20.0]), series("champion_requests", [90.0, 80.0])],
    )
    assert set(counts) == set(COMPARISONS)
    assert [(each.challenger.requests, each.challenger.bad) for each in counts["error"].periods] == [(10, 1), (20, 0)]
    assert [each.champion.requests for each in counts["slow"].periods] == [90, 80]


@pytest.mark.parametrize("status", ["InternalError", "Forbidden"])
def test_a_metric_that_could_not_be_read_is_not_taken_for_zero(status: str) -> None:
    told = [{"Code": status, "Value": "try again"}]
    with pytest.raises(AwsUnavailableError, match=f"challenger_error of e: {status}. try again"):
        counts_of([series("challenger_requests", [10.0]), series("challenger_error", [], status, Messages=told)])


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("Throttling", 400, ThrottledError),
        ("InternalServiceFault", 500, AwsUnavailableError),
        ("AccessDenied", 403, AccessDeniedError),
    ],
)
def test_a_refused_read_of_the_metrics_is_one_of_our_errors(
    code: str, status: int, expected: type[SlipwayError]
) -> None:
    client = boto3.client("cloudwatch", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    source = CloudWatchMetricSource(client, endpoint="e", challenger="new", champion="old", latency_slo_ms=800)
    with Stubber(client) as answers:
        answers.add_client_error("get_metric_data", code, "Rate exceeded", status)
        with pytest.raises(expected, match="Cannot read the metrics of e: "):
            source.counts(WINDOW)
