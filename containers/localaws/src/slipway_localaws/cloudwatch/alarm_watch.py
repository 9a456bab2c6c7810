"""Evaluates alarms and does what they ask for when their state changes."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.exceptions import ServiceException
from moto.sns.models import sns_backends

from slipway_localaws.cloudwatch.alarm import StoredAlarm, now
from slipway_localaws.cloudwatch.alarm_state import COMPARISONS, EXTRA_PERIODS, AlarmRuleError, composite_state, judge
from slipway_localaws.cloudwatch.queries import QueryRunner
from slipway_localaws.cloudwatch.series import MetricStore
from slipway_localaws.event_bus import emit
from slipway_localaws.patching import MOTO_LOCK

log = logging.getLogger(__name__)
_TICK_SECONDS = 0.5
#: Invocations are written down once a second: a period is closed a moment after it ends.
SETTLE_SECONDS = 2.0


class AlarmWatch:
    """Looks after all alarms in a thread of its own.

    Args:
        store: the metrics.
        on_change: called with the name of each service whose state changed.
    """

    def __init__(self, store: MetricStore, on_change: Callable[[str], None]) -> None:
        self._store = store
        self._on_change = on_change
        threading.Thread(target=self._watch, name="alarms", daemon=True).start()

    def set_state(self, alarm: StoredAlarm, state: str, reason: str, reason_data: str = "") -> None:
        """Change an alarm's state, and tell those who want to know when it is a new one. Hold ``MOTO_LOCK``."""
        before = alarm.snapshot()
        alarm.state_reason, alarm.state_reason_data, alarm.state_updated = reason, reason_data, now()
        changed = alarm.state_value != state
        alarm.state_value = state
        self._on_change("monitoring")
        if not changed:
            return
        alarm.state_transitioned = alarm.state_updated
        summary = f"Alarm updated from {before['value']} to {state}"
        alarm.note("StateUpdate", summary, {"version": "1.0", "oldState": before, "newState": alarm.snapshot()})
        detail = {
            "alarmName": alarm.name, "state": alarm.snapshot(), "previousState": before,
            "configuration": {"description": alarm.request.get("AlarmDescription", "")},
        }  # fmt: skip
        emit(alarm.account, alarm.region, "aws.cloudwatch", "CloudWatch Alarm State Change", [alarm.alarm_arn], detail)
        if alarm.actions_enabled and not self._suppressed(alarm):
            for action in alarm.actions:
                self._act(alarm, action, str(before["value"]))

    def evaluate_all(self) -> None:
        """Evaluate every alarm whose time has come."""
        with MOTO_LOCK:
            alarms = [
                alarm
                for _, _, backend in list(cloudwatch_backends.iter_backends())
                for alarm in list(backend.alarms.values())  # type: ignore[attr-defined]
                if isinstance(alarm, StoredAlarm)
            ]
        for alarm in sorted(alarms, key=lambda each: each.composite):
            if alarm.composite:
                self._evaluate_composite(alarm, alarms)
            elif time.time() - alarm.evaluated_at >= min(_period(alarm), 60) / 10:
                alarm.evaluated_at = time.time()
                self._evaluate_metric(alarm)

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            try:
                self.evaluate_all()
            except Exception:
                log.exception("alarms were not evaluated")

    def _evaluate_metric(self, alarm: StoredAlarm) -> None:
        request, period = alarm.request, _period(alarm)
        wanted = int(request["EvaluationPeriods"])
        end = int((time.time() - SETTLE_SECONDS) // period * period)
        start = end - (wanted + EXTRA_PERIODS) * period
        points = self._points(alarm, start, end, period)
        compare, threshold = COMPARISONS[request["ComparisonOperator"]], float(request["Threshold"])
        datapoints = int(request.get("DatapointsToAlarm") or wanted)
        judgement = judge(
            points,
            lambda value: compare(value, threshold),
            evaluation_periods=wanted,
            datapoints_to_alarm=datapoints,
            treat_missing=request["TreatMissingData"],
        )
        state = judgement.state or alarm.state_value
        if state == alarm.state_value:
            return
        reason = _reason(alarm, state, judgement.points, judgement.breaching, datapoints)
        data = {
            "version": "1.0",
            "statistic": request.get("Statistic") or request.get("ExtendedStatistic"),
            "period": period,
            "recentDatapoints": list(judgement.points),
            "threshold": threshold,
        }
        with MOTO_LOCK:
            self.set_state(alarm, state, reason, json.dumps(data))

    def _points(self, alarm: StoredAlarm, start: int, end: int, period: int) -> list[float | None]:
        request, runner = alarm.request, QueryRunner(self._store, alarm.account, alarm.region)
        if request.get("Metrics"):
            results = runner.run(request["Metrics"], start, end)
            (watched,) = [query["Id"] for query in request["Metrics"] if query.get("ReturnData", True)]
            found = results[watched][0].points if results[watched] else {}
        else:
            stat = request.get("ExtendedStatistic") or request["Statistic"]
            found = runner.single(request, stat, period, start, end, request.get("Unit")).points
        return [found.get(at) for at in range(start, end, period)]

    def _evaluate_composite(self, alarm: StoredAlarm, alarms: list[StoredAlarm]) -> None:
        states = {
            name: other.state_value
            for other in alarms
            if (other.account, other.region) == (alarm.account, alarm.region)
            for name in (other.name, other.alarm_arn)
        }
        try:
            state = "ALARM" if composite_state(str(alarm.rule), states) else "OK"
            reason = f"{alarm.alarm_arn} transitioned to {state}"
        except AlarmRuleError as error:
            state, reason = "INSUFFICIENT_DATA", str(error)
        if state != alarm.state_value:
            with MOTO_LOCK:
                self.set_state(alarm, state, reason)

    def _suppressed(self, alarm: StoredAlarm) -> bool:
        name = str(alarm.request.get("ActionsSuppressor", "")).rpartition(":")[2]
        suppressor = cloudwatch_backends[alarm.account][alarm.region].alarms.get(name)
        return suppressor is not None and suppressor.state_value == "ALARM"

    def _act(self, alarm: StoredAlarm, action: str, old_state: str) -> None:
        parts = action.split(":")
        if parts[2] != "sns":
            alarm.note("Action", f"Action {action} is not modelled by the stand-in", {"actionState": "Failed"})
            return
        subject = f'{alarm.state_value}: "{alarm.name}" in {alarm.region}'[:99]
        try:
            message = json.dumps(notification(alarm, old_state))
            sns_backends[parts[4]][parts[3]].publish(arn=action, message=message, subject=subject)
        except ServiceException as error:
            alarm.note("Action", f"Failed to execute action {action}", {"actionState": "Failed", "error": str(error)})
        else:
            alarm.note("Action", f"Successfully executed action {action}", {"actionState": "Succeeded"})
            self._on_change("sns")


def notification(alarm: StoredAlarm, old_state: str) -> dict[str, Any]:
    """What an alarm publishes to SNS.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    request = alarm.request
    message: dict[str, Any] = {
        "AlarmName": alarm.name,
        "AlarmDescription": request.get("AlarmDescription"),
        "AWSAccountId": alarm.account,
        "AlarmConfigurationUpdatedTimestamp": _stamp(alarm.configured),
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "StateChangeTime": _stamp(alarm.state_updated),
        "Region": alarm.region,
        "AlarmArn": alarm.alarm_arn,
        "OldStateValue": old_state,
        "OKActions": request["OKActions"],
        "AlarmActions": request["AlarmActions"],
        "InsufficientDataActions": request["InsufficientDataActions"],
    }
    if alarm.composite:
        return message | {"AlarmRule": alarm.rule}
    trigger: dict[str, Any] = {
        key: request[key]
        for key in (
            "MetricName", "Namespace", "Unit", "Period", "EvaluationPeriods", "DatapointsToAlarm", "ComparisonOperator",
            "Threshold", "TreatMissingData", "Metrics", "ExtendedStatistic",
        )
        if key in request
    }  # fmt: skip
    if "Statistic" in request:
        trigger |= {"StatisticType": "Statistic", "Statistic": request["Statistic"].upper()}
    trigger["Dimensions"] = [{"name": each["Name"], "value": each["Value"]} for each in request.get("Dimensions", ())]
    return message | {"Trigger": trigger}


def _period(alarm: StoredAlarm) -> int:
    if alarm.request.get("Period"):
        return int(alarm.request["Period"])
    periods = [
        int(query["MetricStat"]["Period"]) for query in alarm.request.get("Metrics", ()) if query.get("MetricStat")
    ]
    return max(periods, default=60)


def _reason(alarm: StoredAlarm, state: str, points: tuple[float, ...], breaching: int, datapoints: int) -> str:
    if state == "INSUFFICIENT_DATA":
        return "Insufficient Data: no datapoints were received for the evaluation periods."
    words = {
        "GreaterThanOrEqualToThreshold": "greater than or equal to", "GreaterThanThreshold": "greater than",
        "LessThanThreshold": "less than", "LessThanOrEqualToThreshold": "less than or equal to",
    }[alarm.request["ComparisonOperator"]]  # fmt: skip
    counted = breaching if state == "ALARM" else len(points) - breaching
    verb = "was" if counted == 1 else "were"
    return (
        f"Threshold Crossed: {counted} out of the last {len(points)} datapoints {list(points)} {verb} "
        f"{'' if state == 'ALARM' else 'not '}{words} the threshold ({float(alarm.request['Threshold'])}) (minimum "
        f"{datapoints} datapoint{'s' if datapoints != 1 else ''} for OK -> ALARM transition)."
    )


def _stamp(at: Any) -> str:
    return str(at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000")
