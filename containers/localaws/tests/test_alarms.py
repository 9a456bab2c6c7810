"""Alarms, events and notifications.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
https://docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin import StandIn, wait_for, wait_status

from slipway_localaws.cloudwatch.alarm_state import AlarmRuleError, composite_state, judge

# The tables of "How alarms handle missing data": "-" is missing, "X" breaches, "0" does not; the newest is the last.
# For each row: the points, and the state under missing, ignore, breaching, notBreaching ("" is: stays as it is).

ALL_OF_THREE = [
    ("0-X-X", "OK", "OK", "OK", "OK"),
    ("----0", "OK", "OK", "OK", "OK"),
    ("-----", "INSUFFICIENT_DATA", "", "ALARM", "OK"),
    ("0XX-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("--X--", "ALARM", "", "ALARM", "OK"),
]
TWO_OF_THREE = [
    ("0-X-X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("00X0X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0-X--", "OK", "OK", "ALARM", "OK"),
    ("----0", "OK", "OK", "ALARM", "OK"),
    ("----X", "ALARM", "", "ALARM", "OK"),
]


@pytest.mark.parametrize("treatment", ["missing", "ignore", "breaching", "notBreaching"])
@pytest.mark.parametrize(("datapoints", "row"), [(3, row) for row in ALL_OF_THREE] + [(2, row) for row in TWO_OF_THREE])
def test_missing_data(treatment: str, datapoints: int, row: tuple[str, ...]) -> None:
    points = [{"-": None, "X": 9.0, "0": 1.0}[each] for each in row[0]]
    expected = row[1 + ["missing", "ignore", "breaching", "notBreaching"].index(treatment)]
    found = judge(
        points, lambda value: value > 5, evaluation_periods=3, datapoints_to_alarm=datapoints, treat_missing=treatment
    )
    assert found.state == expected


STATES = {"a": "ALARM", "b": "OK", "c d": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('ALARM("a")', True), ("ALARM(b)", False), ("OK(b) AND ALARM(a)", True), ("ALARM(b) OR ALARM(a)", True),
        ('INSUFFICIENT_DATA("c d")', True), ("NOT ALARM(a)", False), ("NOT (ALARM(b) OR OK(a))", True),
        ("TRUE AND NOT FALSE", True), ("ALARM(a) OR ALARM(a) AND ALARM(b)", True),
    ],
)  # fmt: skip
def test_composite_rules(rule: str, expected: bool) -> None:
    assert composite_state(rule, STATES) is expected


@pytest.mark.parametrize("rule", ["", "ALARM(none)", "ALARM(a) AND", "(ALARM(a)", "ALARM(a) ALARM(b)", "MAYBE(a)"])
def test_composite_rules_that_cannot_be_read(rule: str) -> None:
    with pytest.raises(AlarmRuleError):
        composite_state(rule, STATES)


# The API


@pytest.fixture
def cloudwatch(aws: Any) -> Any:
    return aws("cloudwatch")


class Inbox:
    """A queue, and a topic that it is subscribed to."""

    def __init__(self, aws: Any, name: str) -> None:
        self.sqs = aws("sqs")
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"]
        self.queue_arn = attributes["QueueArn"]
        self.topic_arn = aws("sns").create_topic(Name=name)["TopicArn"]
        aws("sns").subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=self.queue_arn)

    def read(self) -> list[dict[str, Any]]:
        messages = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", ())
        for each in messages:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=each["ReceiptHandle"])
        return [json.loads(each["Body"]) for each in messages]

    def wait(self, count: int = 1, seconds: float = 30) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def enough() -> bool:
            found.extend(self.read())
            return len(found) >= count

        wait_for(enough, seconds, pause=0.2)
        return found


@pytest.fixture
def inbox(aws: Any, name: str) -> Inbox:
    return Inbox(aws, name)


def put_alarm(cloudwatch: Any, name: str, **more: Any) -> None:
    alarm = {
        "AlarmName": name, "Namespace": name, "MetricName": "errors", "Statistic": "Sum", "Period": 10,
        "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    cloudwatch.put_metric_alarm(**{key: value for key, value in (alarm | more).items() if value is not None})


def state(cloudwatch: Any, name: str) -> str:
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return str(alarm["StateValue"])


def publish(cloudwatch: Any, name: str, value: float) -> None:
    data = [{"MetricName": "errors", "Value": value, "Timestamp": datetime.now(UTC)}]
    cloudwatch.put_metric_data(Namespace=name, MetricData=data)


@pytest.mark.long
@pytest.mark.integration
def test_an_alarm_goes_off_and_tells_a_topic(cloudwatch: Any, inbox: Inbox, name: str) -> None:
    actions = {"AlarmActions": [inbox.topic_arn], "OKActions": [inbox.topic_arn]}
    put_alarm(cloudwatch, name, AlarmDescription="too many", TreatMissingData="notBreaching", **actions)
    assert state(cloudwatch, name) in {"INSUFFICIENT_DATA", "OK"}
    publish(cloudwatch, name, 9.0)
    wait_for(lambda: state(cloudwatch, name) == "ALARM", 30)
    wait_for(lambda: state(cloudwatch, name) == "OK", 60)
    envelopes = inbox.wait(2)
    notes = [json.loads(each["Message"]) for each in envelopes]
    alarm = next(note for note in notes if note["NewStateValue"] == "ALARM")
    subject = next(each["Subject"] for each in envelopes if json.loads(each["Message"]) == alarm)
    assert subject == f'ALARM: "{name}" in us-east-1'[:99]
    assert (alarm["AlarmName"], alarm["AWSAccountId"]) == (name, "123456789012")
    assert alarm["Trigger"]["Threshold"] == 5.0
    assert "Threshold Crossed: 1 out of the last 1 datapoints [9.0] was greater than" in alarm["NewStateReason"]
    assert [note["NewStateValue"] for note in notes].count("OK") >= 1
    history = cloudwatch.describe_alarm_history(AlarmName=name)["AlarmHistoryItems"]
    assert {item["HistoryItemType"] for item in history} == {"ConfigurationUpdate", "StateUpdate", "Action"}


@pytest.mark.integration
def test_an_alarm_on_percentiles_and_on_math(cloudwatch: Any, name: str) -> None:
    metric = {"Namespace": name, "MetricName": "errors"}
    stat = {"Metric": metric, "Period": 10, "Stat": "Sum"}
    queries = [
        {"Id": "errors", "MetricStat": stat, "ReturnData": False},
        {"Id": "rate", "Expression": "errors / 10", "ReturnData": True},
    ]
    common = {"EvaluationPeriods": 2, "DatapointsToAlarm": 1, "ComparisonOperator": "GreaterThanThreshold"}
    cloudwatch.put_metric_alarm(AlarmName=f"{name}-math", Metrics=queries, Threshold=1.0, **common)
    put_alarm(cloudwatch, f"{name}-p", Namespace=name, Statistic=None, ExtendedStatistic="p90", Threshold=20.0)
    put_alarm(cloudwatch, f"{name}-low", Namespace=name, Threshold=1000.0)
    publish(cloudwatch, name, 25.0)
    wait_for(lambda: state(cloudwatch, f"{name}-math") == state(cloudwatch, f"{name}-p") == "ALARM", 40)
    assert state(cloudwatch, f"{name}-low") in {"OK", "INSUFFICIENT_DATA"}


@pytest.mark.integration
def test_set_alarm_state_does_what_a_real_change_does(cloudwatch: Any, inbox: Inbox, name: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html"""
    put_alarm(cloudwatch, name, Period=60, AlarmActions=[inbox.topic_arn], TreatMissingData="ignore")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a drill")
    (note,) = [json.loads(each["Message"]) for each in inbox.wait()]
    assert (note["NewStateReason"], note["OldStateValue"]) == ("a drill", "INSUFFICIENT_DATA")
    cloudwatch.disable_alarm_actions(AlarmNames=[name])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="over")
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="again")
    time.sleep(0.5)
    assert inbox.read() == []
    with pytest.raises(ClientError):
        cloudwatch.set_alarm_state(AlarmName="none", StateValue="OK", StateReason="x")


@pytest.mark.integration
def test_composite_alarms_follow_others(cloudwatch: Any, inbox: Inbox, name: str) -> None:
    for each in ("a", "b"):
        put_alarm(cloudwatch, f"{name}-{each}", Period=60, TreatMissingData="ignore")
    rule = f'ALARM("{name}-a") AND NOT ALARM("{name}-b")'
    cloudwatch.put_composite_alarm(AlarmName=name, AlarmRule=rule, AlarmActions=[inbox.topic_arn])
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []
    described = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert described[0]["AlarmRule"] == rule
    cloudwatch.set_alarm_state(AlarmName=f"{name}-a", StateValue="ALARM", StateReason="x")
    note = json.loads(inbox.wait()[-1]["Message"])
    assert (note["AlarmName"], note["NewStateValue"]) == (name, "ALARM")
    with pytest.raises(ClientError) as caught:
        cloudwatch.put_composite_alarm(AlarmName=f"{name}-bad", AlarmRule="ALARM(no-such-alarm)")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


@pytest.mark.integration
@pytest.mark.parametrize(
    "change",
    [
        {"Period": 7}, {"DatapointsToAlarm": 2}, {"Statistic": None}, {"ExtendedStatistic": "p99"},
        {"ComparisonOperator": "LessThanLowerThreshold"}, {"TreatMissingData": "whatever"}, {"Threshold": None},
    ],
)  # fmt: skip
def test_alarms_that_are_refused(cloudwatch: Any, name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as caught:
        put_alarm(cloudwatch, name, **change)
    assert caught.value.response["Error"]["Code"] in {"ValidationError", "InvalidParameterCombination"}


@pytest.mark.integration
def test_an_update_of_an_alarm_keeps_its_state(cloudwatch: Any, name: str) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
    put_alarm(cloudwatch, name, Period=60, TreatMissingData="ignore", Tags=[{"Key": "k", "Value": "v"}])
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="x")
    put_alarm(cloudwatch, name, Period=60, TreatMissingData="ignore", Threshold=7.0)
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (alarm["StateValue"], alarm["Threshold"]) == ("ALARM", 7.0)
    assert cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"] == [{"Key": "k", "Value": "v"}]
    found = cloudwatch.describe_alarms_for_metric(MetricName="errors", Namespace=name)["MetricAlarms"]
    assert [each["AlarmName"] for each in found] == [name]
    cloudwatch.delete_alarms(AlarmNames=[name])
    assert cloudwatch.describe_alarms(AlarmNamePrefix=name)["MetricAlarms"] == []


@pytest.mark.integration
def test_endpoint_changes_are_events(aws: Any, inbox: Inbox, hosted: Any, name: str) -> None:
    events = aws("events")
    pattern = {
        "source": ["aws.sagemaker"], "detail-type": ["SageMaker Endpoint State Change"],
        "detail": {"EndpointName": [name]},
    }  # fmt: skip
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    targets = [{"Id": "queue", "Arn": inbox.queue_arn}, {"Id": "topic", "Arn": inbox.topic_arn}]
    events.put_targets(Rule=name, Targets=targets)
    hosted({"main": (1.0, {})})
    found = inbox.wait(4)
    direct = [each for each in found if "detail" in each]
    by_topic = [json.loads(each["Message"]) for each in found if "Message" in each]
    for delivered in (direct, by_topic):
        assert [each["detail"]["EndpointStatus"] for each in delivered] == ["CREATING", "IN_SERVICE"]
    event = direct[0]
    assert event["resources"] == [f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{name}"]
    assert (event["account"], event["region"], event["version"]) == ("123456789012", "us-east-1", "0")
    assert event["detail"]["EndpointConfigName"] == f"{name}-1"


@pytest.mark.integration
def test_maintenance_by_sagemaker_itself(stand_in: StandIn, aws: Any, hosted: Any, name: str) -> None:
    sagemaker = aws("sagemaker")
    hosted({"main": (1.0, {})})
    stand_in.faults({"endpoint": name, "effect": "system_updating", "count": 1, "latency_ms": 1500})
    wait_status(sagemaker, name, "SystemUpdating")
    aws("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"still served")
    with pytest.raises(ClientError) as caught:
        sagemaker.delete_endpoint(EndpointName=name)
    assert "in-progress" in caught.value.response["Error"]["Message"]
    wait_status(sagemaker, name, "InService")


@pytest.mark.integration
def test_rolling_back_is_seen(aws: Any, inbox: Inbox, hosted: Any, config_of: Any, name: str) -> None:
    sagemaker, events = aws("sagemaker"), aws("events")
    pattern = {"source": ["aws.sagemaker"], "detail": {"EndpointName": [name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": inbox.queue_arn}])
    hosted({"main": (1.0, {})})
    config_of(f"{name}-2", {"main": (1.0, {"EXIT": "1"})})
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    wait_status(sagemaker, name, "RollingBack")
    wait_status(sagemaker, name, "InService")
    seen = [each["detail"]["EndpointStatus"] for each in inbox.wait(5)]
    assert seen == ["CREATING", "IN_SERVICE", "UPDATING", "ROLLING_BACK", "IN_SERVICE"]
