"""CloudWatch metrics of a run: Slipway's own, and those that SageMaker Model Monitor emits.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-cloudwatch.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slipway.aws_errors import aws_call
from slipway.canonical import content_digest
from slipway.drift.effect import EFFECTS
from slipway.drift.quality.report import QualityReport, QualityVerdict
from slipway.drift.run_report import RunReport
from slipway.drift.status import Status, unreadable_share

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NAMESPACE = "Slipway/Drift"
MODEL_MONITOR_NAMESPACE = "/aws/sagemaker/Endpoints/data-metric"
_METRICS_PER_CALL = 500
#: Limits of CloudWatch's Dimension: ASCII without control characters, something else than spaces, no colon in front.
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
_DIMENSION_CHARACTERS = 1024
_NO_DIMENSION = re.compile(r"[^\x20-\x7e]|^:|^\s*$")
#: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html, "Value"
_LARGEST_VALUE = 2.0**360
Datum = dict[str, Any]


def drift_metrics(report: RunReport) -> list[Datum]:
    """Return Slipway's metrics: one set for the service, two metrics for each column."""
    calls = report.rows if report.calls is None else report.calls
    totals = {
        "Drifted": float(report.status is Status.DRIFTED),
        "DriftedColumns": float(len(report.drifted_columns)),
        "Rows": float(report.rows),
        "NoTraffic": float(report.status is Status.NO_TRAFFIC),
        "Unreadable": float(report.status is Status.UNREADABLE),
        "UnreadableShare": unreadable_share(calls, report.rejected),
    }
    service = {"Service": report.service}
    data = [_datum(report, name, value, service) for name, value in totals.items()]
    for column, effect in effects(report).items():
        of_column = {**service, "Column": column}
        data.append(_datum(report, "Effect", effect, of_column))
        data.append(_datum(report, "ColumnDrifted", float(column in report.drifted_columns), of_column))
    return data


def quality_metrics(report: RunReport, quality: QualityReport) -> list[Datum]:
    """Return the metrics of the answers' quality: of all rows, and the share of calls whose outcome is known."""
    service = {"Service": report.service}
    failed = quality.verdict is QualityVerdict.FAILED
    unmeasured = _datum(report, "QualityUnmeasured", float(failed), service)
    if failed:  # nothing is known: an alarm on the answers keeps what it knew
        return [unmeasured]
    whole = quality.whole
    data = [_datum(report, f"Quality.{name}", metric.value, service) for name, metric in whole.metrics.items()]
    data.append(_datum(report, "QualityDegraded", float(quality.verdict is QualityVerdict.DEGRADED), service))
    data.append(unmeasured)
    if whole.calls:
        data.append(_datum(report, "LabelCoverage", whole.rows / whole.calls, service))
    return data


def model_monitor_metrics(report: RunReport, schedule: str) -> list[Datum]:
    """Return the metrics under the names and dimensions of Model Monitor, so that its dashboards and alarms live on.

    Args:
        report: What the run found.
        schedule: What stands in for the name of the monitoring schedule.
    """
    dimensions = {"EndpointName": report.endpoint, "ScheduleName": schedule}
    data = []
    for column, values in report.measures.items():
        name = re.sub(r"[^\x21-\x7e]", "_", column)
        data.append(_datum(report, f"feature_non_null_{name}", 1 - values.get("missing_rate", 0.0), dimensions))
        if values.get("count") and "mean" in values:
            data.append({**_datum(report, f"feature_data_{name}", None, dimensions), "StatisticValues": _set(values)})
    for column, effect in effects(report).items():
        name = re.sub(r"[^\x21-\x7e]", "_", column)
        data.append(_datum(report, f"feature_baseline_drift_{name}", effect, dimensions))
    return data


def effects(report: RunReport) -> dict[str, float]:
    """Return the distance of each column on which the verdict rests."""
    return {each.column: each.value for each in report.findings if each.statistic in EFFECTS}


def dimension_value(text: str) -> str:
    """Return a text as CloudWatch takes it for the value of a dimension.

    Where something has to be replaced or cut off, a part of the text's hash is added: names in other scripts would
    otherwise all become the same underscores.
    """
    cleaned = _NO_DIMENSION.sub("_", text)
    if cleaned == text and len(text) <= _DIMENSION_CHARACTERS:
        return text
    mark = f"~{content_digest(text)[:6]}"
    return cleaned[: _DIMENSION_CHARACTERS - len(mark)] + mark


def put_metrics(cloudwatch: CloudWatchClient, namespace: str, data: Sequence[Datum]) -> None:
    """Send metrics; one whose value CloudWatch refuses would take its whole request with it, and is left out.

    Raises:
        SlipwayError: CloudWatch does not answer or refuses.
    """
    for part in _parts([each for each in data if _is_taken(each)]):
        with aws_call(f"put metrics into {namespace}"):
            cloudwatch.put_metric_data(Namespace=namespace, MetricData=part)  # type: ignore[arg-type]


def _parts(data: Sequence[Datum]) -> Iterator[list[Datum]]:
    for start in range(0, len(data), _METRICS_PER_CALL):
        yield list(data[start : start + _METRICS_PER_CALL])


def _is_taken(datum: Datum) -> bool:
    numbers = datum["StatisticValues"].values() if "StatisticValues" in datum else [datum["Value"]]
    return all(abs(number) <= _LARGEST_VALUE for number in numbers)


def _set(values: Mapping[str, float]) -> dict[str, float]:
    return {
        "SampleCount": values["count"],
        "Sum": values["mean"] * values["count"],
        "Minimum": values["minimum"],
        "Maximum": values["maximum"],
    }


def _datum(report: RunReport, name: str, value: float | None, dimensions: Mapping[str, str]) -> Datum:
    datum: Datum = {
        "MetricName": name[:255],
        "Dimensions": [{"Name": key, "Value": dimension_value(text)} for key, text in dimensions.items()],
        "Timestamp": report.until,
    }
    return datum if value is None else {**datum, "Value": value}
