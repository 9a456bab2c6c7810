"""Which alarms and charts follow from a spec."""

from __future__ import annotations

import json
from typing import Any

from slipway.alarms.dashboard import dashboard_body
from slipway.alarms.definition import alarms_of
from slipway.spec import ServiceSpec


def spec(**changes: Any) -> ServiceSpec:
    return ServiceSpec.model_validate({"name": "flights", "model": "m", "owner": "o", **changes})


def settings(what: str, **changes: Any) -> Any:
    return {alarm.name: alarm.settings for alarm in alarms_of(spec(**changes), "r1")}[f"slipway-flights-{what}"]


def test_each_danger_has_its_alarm() -> None:
    names = [alarm.name.removeprefix("slipway-flights-") for alarm in alarms_of(spec(), "r1")]
    assert set(names) >= {"errors", "cpu", "memory", "disk", "drift", "no-traffic", "unreadable", "probe"}
    assert len(set(names)) == len(names)
    assert "quality" not in names
    assert settings("quality", monitor={"labels": "s3://lake/outcomes/"})["MetricName"] == "QualityDegraded"


def test_limits_come_from_the_spec() -> None:
    assert settings("latency", promote={"latency_slo_ms": 250.0})["Threshold"] == 250_000, "in microseconds"
    assert settings("errors", monitor={"alarms": {"error_pct": 5.0}})["Threshold"] == 5.0
    assert settings("cpu", monitor={"alarms": {"utilization_pct": 70.0}})["Threshold"] == 70.0
    assert alarms_of(spec(monitor={"alarms": {"enabled": False}}), "r1") == []


def test_the_endpoints_alarms_look_at_the_variant_with_the_traffic() -> None:
    assert settings("cpu")["Dimensions"] == [
        {"Name": "EndpointName", "Value": "flights-prod"},
        {"Name": "VariantName", "Value": "r1"},
    ]


def test_between_two_looks_of_the_monitor_an_alarm_stays_as_it_is() -> None:
    assert settings("drift")["TreatMissingData"] == "ignore"
    assert settings("cpu")["TreatMissingData"] == "notBreaching"


def test_the_dashboard_is_the_same_for_the_same_spec_and_nothing_overlaps() -> None:
    body = dashboard_body(spec(), "eu-central-1", ["arn:b", "arn:a"])
    assert body == dashboard_body(spec(), "eu-central-1", ["arn:a", "arn:b"])
    widgets = json.loads(body)["widgets"]
    cells = [
        (x, y)
        for each in widgets
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24, "CloudWatch's grid"
    assert not [each for each in widgets if each["properties"]["title"] == "Quality"]
    with_labels = dashboard_body(spec(monitor={"labels": "s3://lake/outcomes/"}), "eu-central-1", [])
    assert "Quality.areaUnderROC" in with_labels
