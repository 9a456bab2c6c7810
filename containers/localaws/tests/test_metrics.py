"""CloudWatch metrics.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin import wait_for

from slipway_localaws.cloudwatch.metric_functions import MetricMathError
from slipway_localaws.cloudwatch.metric_math import evaluate
from slipway_localaws.cloudwatch.statistics import Distribution, InvalidStatisticError, StatisticSet, statistic
from slipway_localaws.cloudwatch.time_series import TimeSeries

# Statistics: worked examples on the values 1, 2, …, 100


def upto(last: int) -> Distribution:
    return Distribution([(float(value), 1.0) for value in range(last, 0, -1)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SampleCount", 100), ("Sum", 5050), ("Average", 50.5), ("Minimum", 1), ("Maximum", 100),
        ("p50", 50), ("p99", 99), ("p99.5", 100), ("p100", 100), ("p0", 1),
        ("tm90", 45.5), ("TM(10%:90%)", 50.5), ("TM(10:20)", 15.5), ("TM(:10)", 5.5), ("TM(90:)", 95.5),
        ("tc90", 90), ("TC(10%:90%)", 80), ("TC(20:)", 80), ("TC(:20)", 20), ("TC(10:20)", 10), ("TC(1000:)", 0),
        ("ts90", 4095), ("TS(90:)", 955), ("TS(10:12)", 23),
        ("wm90", 49.95), ("WM(10%:90%)", 50.4), ("WM(20:80)", 50.3),
        ("PR(:20)", 20), ("PR(20:)", 80), ("PR(10:20)", 10), ("IQM", 50.5),
    ],
)  # fmt: skip
def test_statistics(name: str, expected: float) -> None:
    assert statistic(name)(upto(100)) == pytest.approx(expected)


def test_bounds_are_exclusive_below_and_inclusive_above() -> None:
    values = Distribution([(150.0, 2.0), (1000.0, 3.0)])
    assert statistic("TC(150:1000)")(values) == 3
    assert statistic("TC(149:999)")(values) == 2


def test_counts_weigh() -> None:
    values = Distribution([(10.0, 1.0), (20.0, 98.0), (30.0, 1.0)])
    assert statistic("p1")(values) == 10
    assert statistic("p50")(values) == statistic("p99")(values) == 20
    assert statistic("p99.5")(values) == 30
    assert statistic("tm99")(values) == pytest.approx((10 + 98 * 20) / 99)


def test_statistic_sets_hide_percentiles_unless_all_values_are_equal() -> None:
    hidden = Distribution(sets=[StatisticSet(10, 100, 1, 20)])
    assert statistic("Average")(hidden) == 10
    assert statistic("p99")(hidden) is None
    assert statistic("p99")(Distribution(sets=[StatisticSet(5, 10, 2, 2)])) == 2


@pytest.mark.parametrize("name", ["", "p", "p101", "P(1:2)", "TM()", "TM(:)", "PR(10%:20%)", "sum", "avg", "TC(a:b)"])
def test_what_is_no_statistic(name: str) -> None:
    with pytest.raises(InvalidStatisticError):
        statistic(name)


# Metric math

A = TimeSeries({0: 1.0, 60: 2.0, 120: 3.0}, 60)
B = TimeSeries({0: 10.0, 120: 0.0}, 60)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + 1", {0: 2, 60: 3, 120: 4}),
        ("a * 2 - -1", {0: 3, 60: 5, 120: 7}),
        ("(a + b) / 2", {0: 5.5, 120: 1.5}),
        ("a / b", {0: 0.1}),
        ("2 ^ a", {0: 2, 60: 4, 120: 8}),
        ("a > 1 AND a < 3", {0: 0, 60: 1, 120: 0}),
        ("a >= 2 || b == 10", {0: 1, 120: 1}),
        ("SUM([a, b])", {0: 11, 60: 2, 120: 3}),
        ("AVG(METRICS())", {0: 5.5, 60: 2, 120: 1.5}),
        ("SUM(METRICS('b'))", {0: 10, 120: 0}),
        ("SUM(a)", {0: 6, 60: 6, 120: 6}),
        ("a / MAX(a)", {0: 1 / 3, 60: 2 / 3, 120: 1}),
        ("FILL(b, 7)", {0: 10, 60: 7, 120: 0}),
        ("FILL(b, REPEAT)", {0: 10, 60: 10, 120: 0}),
        ("FILL(b, LINEAR)", {0: 10, 60: 5, 120: 0}),
        ("IF(a > 1, a, 0)", {0: 0, 60: 2, 120: 3}),
        ("IF(b, 100 * a / b, 0)", {0: 10, 120: 0}),
        ("DIFF(a)", {60: 1, 120: 1}),
        ("RATE(a) * PERIOD(a)", {60: 1, 120: 1}),
        ("RUNNING_SUM(a)", {0: 1, 60: 3, 120: 6}),
        ("CEIL(ABS(0 - a) / 2)", {0: 1, 60: 1, 120: 2}),
        ("DATAPOINT_COUNT(b)", {0: 2, 60: 2, 120: 2}),
    ],
)
def test_metric_math(expression: str, expected: dict[int, float]) -> None:
    (found,) = evaluate(expression, {"a": A, "b": B}, start=0, end=180, period=60)
    assert found.points == pytest.approx(expected)


@pytest.mark.parametrize(
    "expression", ["a +", "a b", "nope", "NOPE(a)", "a $ b", "(a", "SUM()", "'text'", "[a, 'x']", "1/0"]
)
def test_what_is_no_metric_math(expression: str) -> None:
    with pytest.raises(MetricMathError):
        evaluate(expression, {"a": A, "b": B}, start=0, end=180, period=60)


# The API

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def cloudwatch(aws: Any) -> Any:
    return aws("cloudwatch")


def publish(cloudwatch: Any, namespace: str, *points: tuple[int, float], name: str = "Latency", **more: Any) -> None:
    """Points are (minutes before NOW, value)."""
    data = [
        {"MetricName": name, "Timestamp": NOW - timedelta(minutes=minutes), "Value": value, **more}
        for minutes, value in points
    ]
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=data)


def query(identifier: str, namespace: str, stat: str, **more: Any) -> dict[str, Any]:
    metric = {"Namespace": namespace, "MetricName": "Latency"}
    return {"Id": identifier, "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}, **more}


@pytest.mark.integration
def test_get_metric_statistics(cloudwatch: Any, name: str) -> None:
    publish(cloudwatch, name, *[(3, float(value)) for value in range(1, 101)], (1, 500.0), Unit="Microseconds")
    window = {"StartTime": NOW - timedelta(minutes=5), "EndTime": NOW + timedelta(minutes=1), "Period": 60}
    common = {"Namespace": name, "MetricName": "Latency", **window}
    answer = cloudwatch.get_metric_statistics(Statistics=["Sum", "Average", "SampleCount"], **common)
    first, second = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    assert (first["Sum"], first["Average"], first["SampleCount"]) == (5050, 50.5, 100)
    assert (first["Timestamp"], second["Timestamp"]) == (NOW - timedelta(minutes=3), NOW - timedelta(minutes=1))
    assert first["Unit"] == "Microseconds"
    answer = cloudwatch.get_metric_statistics(ExtendedStatistics=["p99", "TC(90:)"], **common)
    (first, _) = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    assert first["ExtendedStatistics"] == {"p99": 99, "TC(90:)": 10}
    assert cloudwatch.get_metric_statistics(Statistics=["Sum"], Unit="Count", **common)["Datapoints"] == []
    with pytest.raises(ClientError) as caught:
        cloudwatch.get_metric_statistics(Statistics=["Sum"], ExtendedStatistics=["p1"], **common)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterCombination"


@pytest.mark.integration
def test_values_with_counts_and_statistic_sets(cloudwatch: Any, name: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html"""
    at = NOW - timedelta(minutes=2)
    summary = {"SampleCount": 4, "Sum": 40, "Minimum": 5, "Maximum": 15}
    cloudwatch.put_metric_data(
        Namespace=name,
        MetricData=[
            {"MetricName": "m", "Timestamp": at, "Values": [1.0, 2.0], "Counts": [3.0, 1.0]},
            {"MetricName": "m", "Timestamp": at, "StatisticValues": summary},
        ],
    )
    (point,) = cloudwatch.get_metric_statistics(
        Namespace=name, MetricName="m", StartTime=at, EndTime=at + timedelta(minutes=1), Period=60,
        Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
    )["Datapoints"]  # fmt: skip
    assert (point["Sum"], point["SampleCount"], point["Minimum"], point["Maximum"]) == (45, 8, 1, 15)
    with pytest.raises(ClientError):
        publish(cloudwatch, name, (60 * 24 * 20, 1.0))


@pytest.mark.integration
def test_get_metric_data_with_percentiles_and_math(cloudwatch: Any, name: str) -> None:
    publish(cloudwatch, name, *[(4, float(value)) for value in range(1, 11)], (2, 7.0))
    answer = cloudwatch.get_metric_data(
        StartTime=NOW - timedelta(minutes=5),
        EndTime=NOW,
        ScanBy="TimestampAscending",
        MetricDataQueries=[
            query("slow", name, "TC(8:)", ReturnData=False),
            query("all", name, "SampleCount", ReturnData=False),
            query("p90", name, "p90", Label="worst"),
            {"Id": "share", "Expression": "100 * slow / all"},
            {"Id": "twice", "Expression": "share * 2"},
        ],
    )
    results = {each["Id"]: each for each in answer["MetricDataResults"]}
    assert set(results) == {"p90", "share", "twice"}
    assert results["p90"]["Timestamps"] == [NOW - timedelta(minutes=4), NOW - timedelta(minutes=2)]
    assert results["p90"]["Values"] == [9, 7]
    assert (results["p90"]["Label"], results["p90"]["StatusCode"]) == ("worst", "Complete")
    assert results["share"]["Values"] == [20, 0]
    assert results["twice"]["Values"] == [40, 0]
    backwards = cloudwatch.get_metric_data(
        StartTime=NOW - timedelta(minutes=5), EndTime=NOW, MetricDataQueries=[query("m", name, "Sum")]
    )
    assert backwards["MetricDataResults"][0]["Values"] == [7, 55]


@pytest.mark.integration
@pytest.mark.parametrize("expression", ["nope + 1", "SELECT AVG(x) FROM y", "m +"])
def test_bad_queries_are_refused(cloudwatch: Any, name: str, expression: str) -> None:
    queries = [query("m", name, "Sum"), {"Id": "e", "Expression": expression}]
    with pytest.raises(ClientError) as caught:
        cloudwatch.get_metric_data(StartTime=NOW - timedelta(minutes=5), EndTime=NOW, MetricDataQueries=queries)
    assert caught.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.integration
def test_list_metrics(cloudwatch: Any, name: str) -> None:
    dimensions = [{"Name": "EndpointName", "Value": "e"}, {"Name": "VariantName", "Value": "v"}]
    publish(cloudwatch, name, (1, 1.0), Dimensions=dimensions)
    publish(cloudwatch, name, (1, 1.0), name="Other")
    found = cloudwatch.list_metrics(Namespace=name)["Metrics"]
    assert {each["MetricName"] for each in found} == {"Latency", "Other"}
    (one,) = cloudwatch.list_metrics(Namespace=name, Dimensions=[{"Name": "VariantName"}])["Metrics"]
    assert one["Dimensions"] == dimensions
    assert cloudwatch.list_metrics(Namespace=name, Dimensions=[{"Name": "VariantName", "Value": "w"}])["Metrics"] == []


@pytest.mark.integration
def test_metrics_of_an_endpoint(cloudwatch: Any, aws: Any, hosted: Any, name: str) -> None:
    runtime = aws("sagemaker-runtime")
    hosted({"good": (1.0, {"SLEEP": "0.02"}), "bad": (0.0, {"STATUS": "503"}), "picky": (0.0, {"STATUS": "400"})})
    for _ in range(10):
        runtime.invoke_endpoint(EndpointName=name, Body=b"x")
    for variant, times in (("bad", 4), ("picky", 3)):
        for _ in range(times):
            with pytest.raises(ClientError):
                runtime.invoke_endpoint(EndpointName=name, Body=b"x", TargetVariant=variant)

    def read(metric: str, variant: str, stat: str) -> float | None:
        dimensions = [{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": variant}]
        stat_query = {
            "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions},
            "Period": 3600, "Stat": stat,
        }  # fmt: skip
        answer = cloudwatch.get_metric_data(
            StartTime=datetime.now(UTC) - timedelta(minutes=30), EndTime=datetime.now(UTC) + timedelta(minutes=1),
            MetricDataQueries=[{"Id": "m", "MetricStat": stat_query}],
        )  # fmt: skip
        values = answer["MetricDataResults"][0]["Values"]
        return values[0] if values else None

    wait_for(lambda: read("Invocations", "picky", "Sum") == 3)
    assert read("Invocations", "good", "Sum") == 10
    assert read("Invocations", "bad", "Sum") == 4
    assert (read("Invocation5XXErrors", "good", "Sum"), read("Invocation5XXErrors", "bad", "Sum")) == (0, 4)
    assert (read("Invocation4XXErrors", "bad", "Sum"), read("Invocation4XXErrors", "picky", "Sum")) == (0, 3)
    assert read("Invocation5XXErrors", "bad", "Average") == 1
    assert 20_000 <= (read("ModelLatency", "good", "Minimum") or 0) < 5_000_000, "microseconds"
    assert read("ModelLatency", "good", "TC(20000:)") == 10
    assert read("ModelLatency", "good", "PR(:10000)") == 0
    assert (read("OverheadLatency", "good", "p50") or 0) > 0
    assert read("InvocationsPerInstance", "good", "Sum") == 10


@pytest.mark.integration
def test_metrics_survive_a_crash(own_stand_in: Any) -> None:
    own_stand_in.start()
    publish(own_stand_in.client("cloudwatch"), "kept", (1, 5.0), (1, 7.0))
    time.sleep(1.0)
    own_stand_in.stop(9)
    own_stand_in.start()
    answer = own_stand_in.client("cloudwatch").get_metric_data(
        StartTime=NOW - timedelta(minutes=5), EndTime=NOW, MetricDataQueries=[query("m", "kept", "p100")]
    )
    assert answer["MetricDataResults"][0]["Values"] == [7]
