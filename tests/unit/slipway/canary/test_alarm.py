import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from slipway.canary.alarm import CanaryAlarm, alarm_period, ensure_alarm, remove_alarm, require_alarm
from slipway.errors import AlarmMissingError

TOPIC = "arn:aws:sns:eu-central-1:123456789012:models"


def alarm(**changes) -> CanaryAlarm:
    fields = {
        "endpoint": "flights-prod",
        "challenger": "b" * 12,
        "topic_arn": TOPIC,
        "period_seconds": 60,
        "ignore_below_pct": 0.1,
        "tags": {"slipway:service": "flights"},
    }
    return CanaryAlarm(**{**fields, **changes})


@given(st.integers(1, 3600))
def test_the_period_is_one_that_an_alarm_may_have_and_no_shorter_than_the_metrics(seconds: int):
    period = alarm_period(seconds)
    assert period >= seconds
    assert period in (10, 20, 30) or period % 60 == 0
    assert period - seconds < 60


def test_the_request_is_one_that_cloudwatch_takes():
    shape = botocore.session.get_session().get_service_model("cloudwatch").operation_model("PutMetricAlarm").input_shape
    report = ParamValidator().validate(alarm().request(), shape)
    assert not report.has_errors(), report.generate_report()


def test_what_the_spec_ignores_never_sets_it_off():
    assert alarm().request()["Threshold"] == 5.0
    assert alarm(ignore_below_pct=2.0).request()["Threshold"] == 10.0


@mock_aws
def test_it_is_made_once_missed_when_deleted_and_deleted_once():
    cloudwatch = boto3.client("cloudwatch", region_name="eu-central-1")
    assert ensure_alarm(cloudwatch, alarm())
    assert not ensure_alarm(cloudwatch, alarm())
    require_alarm(cloudwatch, alarm().name)
    assert remove_alarm(cloudwatch, alarm().name)
    assert not remove_alarm(cloudwatch, alarm().name)
    assert not remove_alarm(cloudwatch, None)
    with pytest.raises(AlarmMissingError, match="slipway-flights-prod-bbbb"):
        require_alarm(cloudwatch, alarm().name)
