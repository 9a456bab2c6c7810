"""Alarms, dashboard and probe of a running service, against the AWS stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from slipway.alarms.apply import apply_alarms
from slipway.alarms.dashboard import dashboard_name
from slipway.alarms.removal import Found, delete_alarms, find_alarms
from slipway.artifacts.golden import GoldenRows
from slipway.endpoints.probe import PROBE_ID
from slipway.errors import PermanentError
from slipway.ledger import Ledger
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway.state import Serving, StateStore
from slipway_airflow.operators.endpoint_probe import EndpointProbeOperator
from tests.unit.slipway_airflow.conftest import BUCKET

GOLDEN = GoldenRows(
    columns=["x"],
    rows=[[1.0], [2.0]],
    answers=[0.1, 0.2],
    json={"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}},
    csv=None,
    csv_answers=None,
)


class Runtime:
    """What an endpoint answers."""

    def __init__(self, predictions: Any) -> None:
        self.predictions, self.ids, self.variants = predictions, [], []

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.ids.append(request["InferenceId"])
        self.variants.append(request.get("TargetVariant"))
        body = json.dumps({"predictions": self.predictions}).encode()
        return {"Body": SimpleNamespace(read=lambda: body), "ContentType": "application/json"}


@pytest.fixture
def with_champion(aws: Callable[[str], Any]) -> Callable[[str], Any]:
    champion = Serving(
        release_id="r1", model_version=1, config_name="c", since=datetime(2026, 1, 1, tzinfo=UTC), run_id="p"
    )
    StateStore(aws("s3"), BUCKET).update("flights-prod", lambda s: s.model_copy(update={"champion": champion}))
    aws("s3").put_object(Bucket=BUCKET, Key="releases/flights/r1/golden.json", Body=GOLDEN.to_json())
    return aws


def probe(spec: ServiceSpec, platform: Platform, context: Any, monkeypatch: pytest.MonkeyPatch, runtime: Any) -> Any:
    operator = EndpointProbeOperator(task_id="probe", spec=spec, platform=platform)
    plain = operator.hook.client
    monkeypatch.setattr(operator.hook, "client", lambda name: runtime if name == "sagemaker-runtime" else plain(name))
    return operator.execute(context("probe"))


def failed(aws: Callable[[str], Any]) -> list[float]:
    now = datetime.now(UTC)
    found = aws("cloudwatch").get_metric_data(
        MetricDataQueries=[
            {
                "Id": "f",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "Slipway/Probe",
                        "MetricName": "Failed",
                        "Dimensions": [{"Name": "Service", "Value": "flights"}],
                    },
                    "Period": 60,
                    "Stat": "Maximum",
                },
            }
        ],
        StartTime=now.replace(hour=0, minute=0, second=0),
        EndTime=datetime.fromtimestamp(now.timestamp() + 120, UTC),
    )
    return found["MetricDataResults"][0]["Values"]


def test_right_answers_are_well(
    with_champion: Any, spec: ServiceSpec, platform: Platform, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime([0.1, 0.2])
    found = probe(spec, platform, context, monkeypatch, runtime)
    assert (found["failed"], found["rows"]) == (False, 2)
    assert runtime.ids == [PROBE_ID], "so that the captured call is known for a probe"
    assert runtime.variants == ["r1"], "not whom the weights of a canary choose"
    assert failed(with_champion) == [0.0]


def test_other_answers_are_a_metric_with_an_alarm_not_a_failed_task(
    with_champion: Any, spec: ServiceSpec, platform: Platform, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = probe(spec, platform, context, monkeypatch, Runtime([0.1, 0.9]))
    assert found["failed"]
    assert "row 1: 0.9, not 0.2" in found["problem"]
    assert failed(with_champion) == [1.0]
    (alarm,) = with_champion("cloudwatch").describe_alarms(AlarmNames=["slipway-flights-probe"])["MetricAlarms"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Threshold"]) == ("Slipway/Probe", "Failed", 0.5)


def test_without_champion_or_golden_rows(
    aws: Any, spec: ServiceSpec, platform: Platform, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AirflowSkipException, match="no champion"):
        probe(spec, platform, context, monkeypatch, Runtime([]))
    champion = Serving(release_id="r9", model_version=1, config_name="c", since=datetime.now(UTC), run_id="p")
    StateStore(aws("s3"), BUCKET).update("flights-prod", lambda s: s.model_copy(update={"champion": champion}))
    with pytest.raises(PermanentError, match=r"flights\.deploy"):
        probe(spec, platform, context, monkeypatch, Runtime([]))


def test_alarms_and_dashboard_are_written_once(
    with_champion: Any, spec: ServiceSpec, platform: Platform, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(spec, platform, context, monkeypatch, Runtime([0.1, 0.2]))
    cloudwatch = with_champion("cloudwatch")
    assert not apply_alarms(cloudwatch, spec, "r1"), "all is so already"
    noted = [each for each in Ledger(with_champion("s3"), BUCKET).read("flights") if each.action == "alarms_changed"]
    assert len(noted) == 1
    body = json.loads(cloudwatch.get_dashboard(DashboardName=dashboard_name("flights"))["DashboardBody"])
    assert len(body["widgets"][0]["properties"]["alarms"]) == len(noted[0].detail["put"])


def test_only_what_differs_is_changed_and_what_is_no_longer_wanted_goes(aws: Any, spec: ServiceSpec) -> None:
    cloudwatch = aws("cloudwatch")
    apply_alarms(cloudwatch, spec, "r1")
    cloudwatch.put_metric_alarm(
        AlarmName="slipway-flights-spark-cpu",
        Namespace="x",
        MetricName="x",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    changes = apply_alarms(cloudwatch, spec, "r2")
    assert {name.removeprefix("slipway-flights-") for name in changes.put} >= {"errors", "cpu", "memory", "disk"}
    assert "slipway-flights-drift" not in changes.put
    base = spec.model_dump(exclude_unset=True, mode="json")
    without = ServiceSpec.model_validate({**base, "monitor": {"alarms": {"enabled": False}}})
    gone = apply_alarms(cloudwatch, without, "r2").deleted
    assert "slipway-flights-drift" in gone
    left = [each["AlarmName"] for each in cloudwatch.describe_alarms()["MetricAlarms"]]
    assert left == ["slipway-flights-spark-cpu"], "another service's"


def test_all_alarms_and_the_dashboard_of_one_service_go(aws: Any, spec: ServiceSpec) -> None:
    cloudwatch = aws("cloudwatch")
    other = spec.model_copy(update={"name": "flights-spark"})
    put = apply_alarms(cloudwatch, spec, "r1").put
    apply_alarms(cloudwatch, other, "r1")
    found = find_alarms(cloudwatch, "flights")
    assert {*found.names} == {*put}
    delete_alarms(cloudwatch, "flights", found)
    assert find_alarms(cloudwatch, "flights") == Found((), None)
    assert not apply_alarms(cloudwatch, other, "r1"), "another service's stay"
    for request in found.restore["alarms"]:
        cloudwatch.put_metric_alarm(**request)
    cloudwatch.put_dashboard(
        DashboardName=dashboard_name("flights"), DashboardBody=json.dumps(found.restore["dashboard"])
    )
    assert not apply_alarms(cloudwatch, spec, "r1"), "the ledger's requests bring all of it back"
