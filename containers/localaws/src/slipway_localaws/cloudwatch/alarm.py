"""Alarms: what they were asked to watch, and the state they are in.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricAlarm.html
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.utils import make_arn_for_alarm

_KEPT_HISTORY = 200
_DEFAULTS: dict[str, Any] = {"OKActions": [], "AlarmActions": [], "InsufficientDataActions": []}


def now() -> datetime:
    """The current time, naive in UTC as moto keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


class StoredAlarm:
    """A metric alarm or a composite alarm.

    Args:
        account, region: whose.
        request: PutMetricAlarm's or PutCompositeAlarm's parameters.
    """

    def __init__(self, account: str, region: str, request: Mapping[str, Any]) -> None:
        self.account = account
        self.region = region
        self.name: str = request["AlarmName"]
        self.alarm_arn = make_arn_for_alarm(region, account, self.name)
        self.state_value = "INSUFFICIENT_DATA"
        self.state_reason = "Unchecked: Initial alarm creation"
        self.state_reason_data = ""
        self.state_updated = self.state_transitioned = now()
        self.history: list[dict[str, Any]] = []
        self.evaluated_at = 0.0
        self.configure(request)

    def configure(self, request: Mapping[str, Any]) -> None:
        """Replace the configuration; the state stays as it is."""
        self.request = {**copy.deepcopy(_DEFAULTS), **copy.deepcopy(dict(request))}
        self.request.pop("Tags", None)
        self.request.setdefault("ActionsEnabled", True)
        if not self.composite:
            self.request.setdefault("TreatMissingData", "missing")
        self.configured = now()
        self.note("ConfigurationUpdate", f'Alarm "{self.name}" created or updated', {"type": "Update"})

    @property
    def composite(self) -> bool:
        """Whether it watches other alarms instead of a metric."""
        return "AlarmRule" in self.request

    @property
    def kind(self) -> str:
        """AlarmType."""
        return "CompositeAlarm" if self.composite else "MetricAlarm"

    @property
    def rule(self) -> str | None:
        """AlarmRule of a composite alarm (moto asks for it)."""
        return self.request.get("AlarmRule")

    @property
    def metric_name(self) -> str:
        """MetricName (moto asks for it)."""
        return str(self.request.get("MetricName", ""))

    @property
    def namespace(self) -> str:
        """Namespace (moto asks for it)."""
        return str(self.request.get("Namespace", ""))

    @property
    def alarm_actions(self) -> list[str]:
        """AlarmActions (moto asks for them)."""
        return list(self.request["AlarmActions"])

    @property
    def actions_enabled(self) -> bool:
        """Whether a change of state does anything."""
        return bool(self.request["ActionsEnabled"])

    @actions_enabled.setter
    def actions_enabled(self, enabled: bool) -> None:
        self.request["ActionsEnabled"] = enabled

    @property
    def actions(self) -> list[str]:
        """What is to be done in the current state."""
        names = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}
        return list(self.request[names[self.state_value]])

    def note(self, kind: str, summary: str, data: Mapping[str, Any]) -> None:
        """Add an item to the history."""
        item = {
            "AlarmName": self.name, "AlarmType": self.kind, "Timestamp": now(), "HistoryItemType": kind,
            "HistorySummary": summary, "HistoryData": json.dumps(data, default=str),
        }  # fmt: skip
        self.history = [*self.history[-_KEPT_HISTORY:], item]

    def describe(self) -> dict[str, Any]:
        """MetricAlarm or CompositeAlarm."""
        described = copy.deepcopy(self.request)
        described |= {
            "AlarmArn": self.alarm_arn,
            "AlarmConfigurationUpdatedTimestamp": self.configured,
            "StateValue": self.state_value,
            "StateReason": self.state_reason,
            "StateUpdatedTimestamp": self.state_updated,
            "StateTransitionedTimestamp": self.state_transitioned,
        }
        if self.state_reason_data:
            described["StateReasonData"] = self.state_reason_data
        return described

    def snapshot(self) -> dict[str, Any]:
        """The state as events write it."""
        at = self.state_updated.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"
        return {
            "value": self.state_value,
            "reason": self.state_reason,
            "reasonData": self.state_reason_data,
            "timestamp": at,
        }
