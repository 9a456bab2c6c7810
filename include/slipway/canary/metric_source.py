"""Where the counts of a look come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from slipway.aws_errors import aws_call
from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts, total
from slipway.canary.window import MetricWindow
from slipway.errors import AwsUnavailableError

#: The model failed: the container answered 5xx or not at all.
ERROR = "error"
#: The answer took longer than the objective.
SLOW = "slow"
#: The container refused the request (4xx). What clients do wrong meets both arms alike, so what differs between the
#: arms is of the model's own making, such as a signature that has changed.
REJECTED = "rejected"
#: Captured: answered, but with an error, with missing values, or with fewer or more answers than rows.
ANSWER = "answer"
#: Captured: the answer is outside the range in which 98 % of the champion's earlier answers lie.
UNLIKE = "unlike"
#: The outcome has arrived, and the answer was wrong.
WRONG = "wrong"
COMPARISONS = (ERROR, SLOW, REJECTED)

_READ = frozenset({"Complete", "PartialData"})
_METRIC_OF = {ERROR: "Invocation5XXErrors", REJECTED: "Invocation4XXErrors"}


class MetricSource(Protocol):
    """Two arms' counts over a window."""

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        """Counts by comparison, one entry a period of the window."""

    def describe(self) -> str:
        """Where the counts come from, for the task page."""


class CloudWatchMetricSource:
    """SageMaker's own metrics of two variants.

    ``Invocations`` and the error counts are sums; slow answers are counted by the trimmed count ``TC(slo:)`` of
    ``ModelLatency``, which is in microseconds
    (https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html,
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html).

    Args:
        cloudwatch: boto3 CloudWatch client.
        endpoint: The endpoint's name.
        challenger: The challenger's variant.
        champion: The champion's variant.
        latency_slo_ms: Answers that take longer are slow.
    """

    def __init__(
        self, cloudwatch: Any, *, endpoint: str, challenger: str, champion: str, latency_slo_ms: float
    ) -> None:
        self._cloudwatch = cloudwatch
        self._endpoint = endpoint
        self._variants = {"challenger": challenger, "champion": champion}
        self._slow = f"TC({latency_slo_ms * 1000:.0f}:)"

    def describe(self) -> str:
        """Where the counts come from, for the task page."""
        return f"CloudWatch AWS/SageMaker, endpoint {self._endpoint}, slow = {self._slow} of ModelLatency"

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        """Counts by comparison, one entry a period of the window.

        A period without a data point counts 0 requests. A metric that says more bad than requests (points of one
        minute that arrived apart) is cut to the requests; the next look recomputes it.

        Args:
            window: The closed periods.

        Returns:
            Counts of ``error``, ``slow`` and ``rejected``.

        Raises:
            AwsUnavailableError: CloudWatch does not answer, or says that it could not read one of the metrics.
            SlipwayError: CloudWatch throttles or refuses.
        """
        if window.periods == 0:
            return {name: ComparisonCounts(()) for name in COMPARISONS}
        series = self._fetch(window)
        return {name: _pair(series, name, window) for name in COMPARISONS}

    def _fetch(self, window: MetricWindow) -> dict[str, dict[datetime, float]]:
        series: dict[str, dict[datetime, float]] = {}
        pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=list(self._queries(window.period_seconds)),
            StartTime=window.start,
            EndTime=window.end,
            ScanBy="TimestampAscending",
        )
        with aws_call(f"read the metrics of {self._endpoint}"):
            results = [result for page in pages for result in page["MetricDataResults"]]
        for result in results:
            self._require_read(result)
            points = zip(result["Timestamps"], result["Values"], strict=True)
            series.setdefault(result["Id"], {}).update(points)
        return series

    def _require_read(self, result: Mapping[str, Any]) -> None:
        """A metric that could not be read has no points, as one has whose count is 0.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html
        """
        if result["StatusCode"] in _READ:
            return
        told = " ".join(message["Value"] for message in result.get("Messages", []))
        raise AwsUnavailableError(
            f"CloudWatch could not read {result['Id']} of {self._endpoint}: {result['StatusCode']}. {told} Without it "
            "nothing is judged; it is asked again at the next look."
        )

    def _queries(self, period_seconds: int) -> Iterator[dict[str, Any]]:
        for arm, variant in self._variants.items():
            statistics = {
                "requests": ("Invocations", "Sum"),
                SLOW: ("ModelLatency", self._slow),
                **{name: (metric, "Sum") for name, metric in _METRIC_OF.items()},
            }
            for name, (metric, statistic) in statistics.items():
                yield {
                    "Id": f"{arm}_{name}",
                    "MetricStat": {
                        "Metric": {
                            "Namespace": "AWS/SageMaker",
                            "MetricName": metric,
                            "Dimensions": [
                                {"Name": "EndpointName", "Value": self._endpoint},
                                {"Name": "VariantName", "Value": variant},
                            ],
                        },
                        "Period": period_seconds,
                        "Stat": statistic,
                    },
                    "ReturnData": True,
                }


def _pair(series: Mapping[str, Mapping[datetime, float]], name: str, window: MetricWindow) -> ComparisonCounts:
    periods = []
    seconds = range(0, window.periods * window.period_seconds, window.period_seconds)
    starts = [window.start.timestamp() + offset for offset in seconds]
    by_second = {key: {stamp.timestamp(): value for stamp, value in points.items()} for key, points in series.items()}
    for start in starts:
        arms = []
        for arm in ("challenger", "champion"):
            requests = round(by_second.get(f"{arm}_requests", {}).get(start, 0.0))
            bad = round(by_second.get(f"{arm}_{name}", {}).get(start, 0.0))
            arms.append(ArmCounts(requests=requests, bad=min(bad, requests)))
        periods.append(PeriodCounts(challenger=arms[0], champion=arms[1]))
    return ComparisonCounts(tuple(periods))


class ReferenceMetricSource:
    """The challenger's counts of now beside the champion's of before, for the bake at 100 %.

    Args:
        source: Where both arms' counts come from.
        reference: The periods in which the champion had traffic; see :mod:`slipway.canary.reference`.
    """

    def __init__(self, source: MetricSource, reference: Sequence[MetricWindow]) -> None:
        self._source = source
        self._reference = tuple(reference)

    def describe(self) -> str:
        """Where the counts come from, for the task page."""
        if not self._reference:
            return f"{self._source.describe()}; nothing of the champion: no step had a whole metric period"
        first, last = self._reference[0], self._reference[-1]
        return f"{self._source.describe()}; champion as of {first.start:%H:%M} to {last.end:%H:%M}"

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        """One entry for each comparison: the challenger over the window, the champion over the reference."""
        before = [self._source.counts(each) for each in self._reference]
        return {
            name: ComparisonCounts(
                (PeriodCounts(counts.challenger, total([each[name].champion for each in before])),), together=False
            )
            for name, counts in self._source.counts(window).items()
        }
