"""Metrics of a run, as CloudWatch takes them."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.drift.publication.cloudwatch import NAMESPACE, drift_metrics, model_monitor_metrics, put_metrics
from slipway.drift.run_report import RunReport
from slipway.drift.status import Status
from tests.unit.slipway.drift.test_history import finding, run

PUT = botocore.session.get_session().get_service_model("cloudwatch").operation_model("PutMetricData")


def columns_of(report: RunReport) -> set[str]:
    found = [each for datum in drift_metrics(report) for each in datum["Dimensions"]]
    return {each["Value"] for each in found if each["Name"] == "Column"}


def values(report: RunReport) -> dict[str, float]:
    return {each["MetricName"]: each["Value"] for each in drift_metrics(report) if len(each["Dimensions"]) == 1}


@given(st.text(max_size=40) | st.text("é\x00:\x7f ", max_size=2000))
@example("")
@example(":mean")
@example("größe")
@example(" \t")
@settings(deadline=None)
def test_any_name_of_a_column_makes_metrics_that_cloudwatch_takes(name: str) -> None:
    report = run(0, [finding(name, 0.2)])
    data = [*drift_metrics(report), *model_monitor_metrics(report, "flights-monitor")]
    sent = {"Namespace": NAMESPACE, "MetricData": data}
    assert not ParamValidator().validate(sent, PUT.input_shape).has_errors()
    for datum in data:
        for text in [datum["MetricName"], *(each["Value"] for each in datum["Dimensions"])]:
            assert text.isascii()
            assert text.isprintable(), "control characters are refused"
            assert text.strip()
            assert not text.startswith(":")


@pytest.mark.parametrize("name", ["distance", "air time (min)", "a:b", "x" * 1024])
def test_names_that_cloudwatch_takes_stay_as_they_are(name: str) -> None:
    assert columns_of(run(0, [finding(name, 0.2)])) == {name}


def test_a_name_that_it_does_not_take_is_recognized_and_no_others() -> None:
    for name, shown in {"größe": "gr__e~", ":x": "_x~", "": "_~", "距离": "__~"}.items():
        (found,) = columns_of(run(0, [finding(name, 0.2)]))
        assert found.startswith(shown)
        assert len(found) == len(shown) + 6
    names = ["größe", "grüße", "距离", "时间", "x" * 1025, "x" * 1026]
    assert len(columns_of(run(0, [finding(name, 0.2) for name in names]))) == len(names)


def test_a_value_that_cloudwatch_refuses_does_not_keep_the_others_from_it() -> None:
    sent: list[dict[str, object]] = []

    class Client:
        def put_metric_data(self, **request: object) -> None:
            sent.append(request)

    huge = {"count": 2.0, "mean": 1.0, "minimum": -1e300, "maximum": 1e300}
    report = run(0, [], measures={"x": huge, "y": {**huge, "minimum": 0.0, "maximum": 2.0**360}})
    data = [*model_monitor_metrics(report, "s"), {"MetricName": "none", "Value": float("nan")}]
    put_metrics(Client(), "n", data)  # type: ignore[arg-type]
    (request,) = sent
    names = [each["MetricName"] for each in request["MetricData"]]  # type: ignore[attr-defined]
    assert names == ["feature_non_null_x", "feature_non_null_y", "feature_data_y"]


def test_a_column_whose_mean_is_not_known_keeps_its_other_metrics() -> None:
    known = {"count": 2.0, "minimum": 0.0, "maximum": 1.0, "missing_rate": 0.25}
    data = model_monitor_metrics(run(0, [finding("x", 0.2)], measures={"x": known}), "s")
    assert [(each["MetricName"], each["Value"]) for each in data] == [
        ("feature_non_null_x", 0.75),
        ("feature_baseline_drift_x", 0.2),
    ]


def test_the_share_of_unreadable_calls_is_one_of_calls() -> None:
    facts = {"rows": 1000, "calls": 10, "rejected": {"bad_request": 10, "error_answer": 80}}
    assert values(run(0, [], status=Status.UNREADABLE, **facts))["UnreadableShare"] == 0.5
    older = {**facts, "calls": None, "rejected": {"bad_request": 1000}}
    assert values(run(0, [], **older))["UnreadableShare"] == 0.5, "then a row was taken for a call"
