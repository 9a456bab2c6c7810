"""The API actions on metrics and alarms.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.exceptions import (
    InvalidFormat,
    InvalidParameterCombination,
    InvalidParameterValue,
    ResourceNotFound,
    ValidationError,
)
from moto.cloudwatch.models import CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult, EmptyResult

from slipway_localaws.cloudwatch.alarm import StoredAlarm
from slipway_localaws.cloudwatch.alarm_state import COMPARISONS, AlarmRuleError, composite_state
from slipway_localaws.cloudwatch.alarm_watch import AlarmWatch
from slipway_localaws.cloudwatch.queries import QueryRunner
from slipway_localaws.cloudwatch.series import RETENTION_SECONDS, Datum, MetricKey, MetricStore, dimensions_of
from slipway_localaws.cloudwatch.statistics import InvalidStatisticError, StatisticSet, statistic
from slipway_localaws.cloudwatch.time_series import floor_start
from slipway_localaws.patching import add_action, replace
from slipway_localaws.request_validation import broken_constraints

_PAGE = 500
_FUTURE_SECONDS = 2 * 3600


def install(store: MetricStore, watch: AlarmWatch) -> None:
    """Put these actions in the place of moto's.

    Args:
        store: the metrics.
        watch: looks after the alarms.
    """
    actions = Actions(store, watch)
    for name in (
        "get_metric_data", "get_metric_statistics", "list_metrics", "put_metric_alarm", "describe_alarms",
        "describe_alarms_for_metric", "set_alarm_state",
    ):  # fmt: skip
        replace(CloudWatchResponse, name, _as_action(getattr(actions, name)))
    for name in ("put_composite_alarm", "describe_alarm_history"):
        add_action(CloudWatchResponse, name, _as_action(getattr(actions, name)))
    validate = CloudWatchBackend._validate_parameters_put_metric_data

    def put_metric_data(self: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        for number, datum in enumerate(metric_data, 1):
            validate(self, datum, number)
        store.add([_datum(self.account_id, self.region_name, namespace, each) for each in metric_data])

    replace(CloudWatchBackend, "put_metric_data", put_metric_data)


def _as_action(handler: Any) -> Any:
    def action(self: CloudWatchResponse) -> ActionResult:
        parameters = dict(self._get_params())
        if problem := broken_constraints("cloudwatch", self._get_action(), parameters):
            raise ValidationError(problem)
        result = handler(self.cloudwatch_backend, parameters)
        return EmptyResult() if result is None else ActionResult(result)

    return action


Parameters = Mapping[str, Any]


class Actions:
    """The handlers; each gets the backend of the caller's account and region, and checked parameters."""

    def __init__(self, store: MetricStore, watch: AlarmWatch) -> None:
        self._store = store
        self._watch = watch

    def get_metric_data(self, backend: CloudWatchBackend, parameters: Parameters) -> dict[str, Any]:
        """GetMetricData: single metrics and metric math."""
        start, end = _window(parameters)
        queries = parameters["MetricDataQueries"]
        for number, query in enumerate(queries, 1):
            if not query.get("MetricStat") and not query.get("Expression"):
                raise ValidationError(f"The parameter MetricDataQueries.member.{number}.MetricStat is required.\n")
        results = self._runner(backend).run(queries, start, end)
        descending = parameters.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        rows = []
        for query in queries:
            if not query.get("ReturnData", True):
                continue
            for series in results[query["Id"]]:
                times = sorted(series.points, reverse=descending)
                rows.append({
                    "Id": query["Id"], "Label": query.get("Label") or series.label or query["Id"],
                    "Timestamps": [_moment(at) for at in times], "Values": [series.points[at] for at in times],
                    "StatusCode": "Complete",
                })  # fmt: skip
        return {"MetricDataResults": rows, "Messages": []}

    def get_metric_statistics(self, backend: CloudWatchBackend, parameters: Parameters) -> dict[str, Any]:
        """GetMetricStatistics: plain and extended statistics."""
        start, end = _window(parameters)
        plain, extended = parameters.get("Statistics") or [], parameters.get("ExtendedStatistics") or []
        if bool(plain) == bool(extended):
            raise InvalidParameterCombination("Must specify either Statistics or ExtendedStatistics, but not both")
        period = int(parameters["Period"])
        key = self._runner(backend).key(parameters)
        first = floor_start(start, period)
        points = []
        for unit in [parameters["Unit"]] if parameters.get("Unit") else self._store.units(key):
            for at, values in self._store.read(key, unit, first, int(-(-end // 1)), period).items():
                point: dict[str, Any] = {"Timestamp": _moment(at), "Unit": unit}
                try:
                    point |= {name: statistic(name)(values) for name in plain}
                    if extended:
                        found = {name: statistic(name)(values) for name in extended}
                        point["ExtendedStatistics"] = {name: each for name, each in found.items() if each is not None}
                except InvalidStatisticError as error:
                    raise InvalidParameterValue(f"The value {error} is not a supported statistic.") from None
                points.append(point)
        return {"Label": parameters["MetricName"], "Datapoints": points}

    def list_metrics(self, backend: CloudWatchBackend, parameters: Parameters) -> dict[str, Any]:
        """ListMetrics: pages of 500."""
        keys = [key for key in self._store.keys(backend.account_id, backend.region_name) if _matches(key, parameters)]
        start = int(parameters.get("NextToken") or 0)
        rows = [
            {
                "Namespace": key.namespace,
                "MetricName": key.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in key.dimensions],
            }
            for key in keys[start : start + _PAGE]
        ]
        answer: dict[str, Any] = {"Metrics": rows}
        if len(keys) > start + _PAGE:
            answer["NextToken"] = str(start + _PAGE)
        return answer

    def put_metric_alarm(self, backend: CloudWatchBackend, parameters: Parameters) -> None:
        """PutMetricAlarm: a new alarm starts without data; an old one keeps its state."""
        _check_metric_alarm(parameters)
        self._put_alarm(backend, parameters)

    def put_composite_alarm(self, backend: CloudWatchBackend, parameters: Parameters) -> None:
        """PutCompositeAlarm: the alarms of its rule must exist."""
        alarms = [each for each in backend.alarms.values() if isinstance(each, StoredAlarm)]
        states = {name: each.state_value for each in alarms for name in (each.name, each.alarm_arn)}
        try:
            composite_state(parameters["AlarmRule"], states)
        except AlarmRuleError as error:
            raise ValidationError(f"AlarmRule is not valid: {error}") from None
        self._put_alarm(backend, parameters)

    def describe_alarms(self, backend: CloudWatchBackend, parameters: Parameters) -> dict[str, Any]:
        """DescribeAlarms: metric alarms only, unless other types are asked for."""
        kinds = parameters.get("AlarmTypes") or ["MetricAlarm"]
        alarms = [alarm for alarm in _stored(backend) if alarm.kind in kinds and _alarm_matches(alarm, parameters)]
        return {
            "MetricAlarms": [alarm.describe() for alarm in alarms if not alarm.composite],
            "CompositeAlarms": [alarm.describe() for alarm in alarms if alarm.composite],
        }

    def describe_alarms_for_metric(self, backend: CloudWatchBackend, parameters: Parameters) -> dict[str, Any]:
        """DescribeAlarmsForMetric."""
        wanted = dimensions_of(parameters.get("Dimensions"))
        return {
            "MetricAlarms": [
                alarm.describe()
                for alarm in _stored(backend)
                if (alarm.namespace, alarm.metric_name) == (parameters["Namespace"], parameters["MetricName"])
                and dimensions_of(alarm.request.get("Dimensions")) == wanted
            ]
        }

    def describe_alarm_history(self, backend: CloudWatchBackend, parameters: Parameters) -> dict[str, Any]:
        """DescribeAlarmHistory: newest first, unless asked otherwise."""
        kinds = parameters.get("AlarmTypes") or ["MetricAlarm"]
        items = [
            item
            for alarm in _stored(backend)
            if alarm.kind in kinds and parameters.get("AlarmName", alarm.name) == alarm.name
            for item in alarm.history
            if parameters.get("HistoryItemType", item["HistoryItemType"]) == item["HistoryItemType"]
        ]
        ascending = parameters.get("ScanBy") == "TimestampAscending"
        items.sort(key=lambda item: item["Timestamp"], reverse=not ascending)
        return {"AlarmHistoryItems": items[: int(parameters.get("MaxRecords") or 100)]}

    def set_alarm_state(self, backend: CloudWatchBackend, parameters: Parameters) -> None:
        """SetAlarmState: with its actions, until the next evaluation says otherwise."""
        data = parameters.get("StateReasonData") or ""
        try:
            json.loads(data or "{}")
        except ValueError:
            raise InvalidFormat("StateReasonData is not valid JSON") from None
        alarm = backend.alarms.get(parameters["AlarmName"])
        if not isinstance(alarm, StoredAlarm):
            raise ResourceNotFound
        alarm.evaluated_at = time.time()
        self._watch.set_state(alarm, parameters["StateValue"], parameters["StateReason"], data)

    def _put_alarm(self, backend: CloudWatchBackend, parameters: Parameters) -> None:
        existing = backend.alarms.get(parameters["AlarmName"])
        if isinstance(existing, StoredAlarm):
            existing.configure(parameters)
            return
        alarm = StoredAlarm(backend.account_id, backend.region_name, parameters)
        backend.alarms[alarm.name] = alarm  # type: ignore[assignment]
        if parameters.get("Tags"):
            backend.tagger.tag_resource(alarm.alarm_arn, parameters["Tags"])

    def _runner(self, backend: CloudWatchBackend) -> QueryRunner:
        return QueryRunner(self._store, backend.account_id, backend.region_name)


def _stored(backend: CloudWatchBackend) -> list[StoredAlarm]:
    return [alarm for alarm in backend.alarms.values() if isinstance(alarm, StoredAlarm)]


def _alarm_matches(alarm: StoredAlarm, parameters: Parameters) -> bool:
    names = parameters.get("AlarmNames")
    return (
        (not names or alarm.name in names)
        and alarm.name.startswith(parameters.get("AlarmNamePrefix") or "")
        and parameters.get("StateValue", alarm.state_value) == alarm.state_value
        and (
            not parameters.get("ActionPrefix")
            or any(each.startswith(parameters["ActionPrefix"]) for each in alarm.alarm_actions)
        )
    )


def _matches(key: MetricKey, parameters: Parameters) -> bool:
    if parameters.get("Namespace", key.namespace) != key.namespace:
        return False
    if parameters.get("MetricName", key.name) != key.name:
        return False
    held = dict(key.dimensions)
    return all(
        each["Name"] in held and each.get("Value", held[each["Name"]]) == held[each["Name"]]
        for each in parameters.get("Dimensions") or ()
    )


def _check_metric_alarm(parameters: Parameters) -> None:
    if parameters["ComparisonOperator"] not in COMPARISONS:
        raise ValidationError("Anomaly detection alarms are not modelled by the stand-in.")
    if "Threshold" not in parameters:
        raise ValidationError("The parameter Threshold is required.")
    if parameters.get("TreatMissingData", "missing") not in {"missing", "ignore", "breaching", "notBreaching"}:
        raise ValidationError(f"Option {parameters['TreatMissingData']} is not supported for TreatMissingData.")
    datapoints = parameters.get("DatapointsToAlarm")
    if datapoints is not None and datapoints > parameters["EvaluationPeriods"]:
        raise ValidationError("The DatapointsToAlarm cannot be larger than the EvaluationPeriods.")
    if parameters.get("Metrics"):
        if sum(bool(query.get("ReturnData", True)) for query in parameters["Metrics"]) != 1:
            raise ValidationError("Exactly one element of the metrics list should return data.")
        return
    _check_single_metric(parameters)


def _check_single_metric(parameters: Parameters) -> None:
    for name in ("MetricName", "Namespace", "Period"):
        if not parameters.get(name):
            raise ValidationError(f"The parameter {name} is required.")
    if bool(parameters.get("Statistic")) == bool(parameters.get("ExtendedStatistic")):
        raise InvalidParameterCombination("Must specify either Statistic or ExtendedStatistic, but not both")
    period = int(parameters["Period"])
    if period not in {10, 20, 30} and period % 60:
        raise ValidationError("Metric period must be 10, 20, 30 or a multiple of 60 seconds.")
    try:
        statistic(parameters.get("ExtendedStatistic") or parameters["Statistic"])
    except InvalidStatisticError as error:
        raise InvalidParameterValue(f"The value {error} for parameter ExtendedStatistic is not supported.") from None


def _window(parameters: Parameters) -> tuple[float, float]:
    start, end = _seconds(parameters["StartTime"]), _seconds(parameters["EndTime"])
    if start >= end:
        raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
    return start, end


def _datum(account: str, region: str, namespace: str, given: Mapping[str, Any]) -> Datum:
    second = int(_seconds(given["Timestamp"])) if given.get("Timestamp") else int(time.time())
    if not time.time() - RETENTION_SECONDS < second < time.time() + _FUTURE_SECONDS:
        raise InvalidParameterValue("The parameter Timestamp must specify a time within the past two weeks.")
    key = MetricKey(account, region, namespace, given["MetricName"], dimensions_of(given.get("Dimensions")))
    unit = given.get("Unit") or "None"
    if given.get("StatisticValues"):
        stats = given["StatisticValues"]
        summary = StatisticSet(*(float(stats[name]) for name in ("SampleCount", "Sum", "Minimum", "Maximum")))
        return Datum(key, unit, second, summary=summary)
    values: Sequence[Any] = given.get("Values") or [given.get("Value", 0.0)]
    counts = given.get("Counts") or [1.0] * len(values)
    return Datum(key, unit, second, [float(value) for value in values], [float(count) for count in counts])


def _seconds(moment: Any) -> float:
    """Seconds since the epoch of a time as moto hands it over."""
    if isinstance(moment, datetime):
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(moment)


def _moment(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
