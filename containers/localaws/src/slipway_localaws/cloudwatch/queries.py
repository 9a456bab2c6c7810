"""Metric queries: single metrics and metric math over them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataQuery.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError

from slipway_localaws.cloudwatch.metric_functions import MetricMathError
from slipway_localaws.cloudwatch.metric_math import evaluate
from slipway_localaws.cloudwatch.series import MetricKey, MetricStore, dimensions_of
from slipway_localaws.cloudwatch.statistics import InvalidStatisticError, statistic
from slipway_localaws.cloudwatch.time_series import TimeSeries, floor_start

Query = Mapping[str, Any]


class QueryRunner:
    """Answers queries of one account and region.

    Args:
        store: the metrics.
        account, region: whose.
    """

    def __init__(self, store: MetricStore, account: str, region: str) -> None:
        self._store = store
        self._account = account
        self._region = region

    def key(self, metric: Mapping[str, Any]) -> MetricKey:
        """The key of a metric as AWS writes it (Namespace, MetricName, Dimensions)."""
        dimensions = dimensions_of(metric.get("Dimensions"))
        return MetricKey(self._account, self._region, metric["Namespace"], metric["MetricName"], dimensions)

    def single(
        self, metric: Mapping[str, Any], stat: str, period: int, start: float, end: float, unit: str | None = None
    ) -> TimeSeries:
        """One statistic of one metric.

        Raises:
            InvalidParameterValue: no such statistic.
        """
        try:
            compute = statistic(stat)
        except InvalidStatisticError:
            raise InvalidParameterValue(f"The value {stat} for parameter Stat is not supported.") from None
        first = floor_start(start, period)
        periods = self._store.read(self.key(metric), unit, first, int(-(-end // 1)), period)
        computed = {at: compute(values) for at, values in periods.items()}
        points = {at: value for at, value in computed.items() if value is not None}
        return TimeSeries(points, period, f"{metric['MetricName']}")

    def run(self, queries: Sequence[Query], start: float, end: float) -> dict[str, list[TimeSeries]]:
        """All queries, by their ids; an expression that yields an array has several time series.

        Raises:
            ValidationError, InvalidParameterValue: as CloudWatch.
        """
        results: dict[str, list[TimeSeries]] = {}
        for query in queries:
            if query.get("MetricStat"):
                stat = query["MetricStat"]
                found = self.single(stat["Metric"], stat["Stat"], int(stat["Period"]), start, end, stat.get("Unit"))
                results[query["Id"]] = [found]
        waiting = [query for query in queries if query.get("Expression")]
        while waiting:
            ready = [query for query in waiting if not _depends(query, [each for each in waiting if each is not query])]
            if not ready:
                raise ValidationError("Error in expression: expressions refer to each other in a circle.")
            for query in ready:
                results[query["Id"]] = self._expression(query, results, start, end)
            waiting = [query for query in waiting if query not in ready]
        return results

    def _expression(
        self, query: Query, results: Mapping[str, list[TimeSeries]], start: float, end: float
    ) -> list[TimeSeries]:
        expression: str = query["Expression"]
        if expression.lstrip().upper().startswith(("SELECT", "SEARCH")):
            raise ValidationError("Metrics Insights and SEARCH expressions are not modelled by the stand-in.")
        known = {name: found[0] for name, found in results.items() if len(found) == 1}
        period = int(query.get("Period") or min((each.period for each in known.values()), default=60))
        first = floor_start(start, period)
        try:
            return evaluate(expression, known, start=first, end=int(-(-end // 1)), period=period)
        except MetricMathError as error:
            raise ValidationError(f"Error in expression '{query['Id']}': {error}") from None


def _depends(query: Query, others: Sequence[Query]) -> bool:
    names = set(re.findall(r"[A-Za-z_]\w*", query["Expression"]))
    return any(other["Id"] in names for other in others)
