"""The CloudWatch alarm of a promotion: it tells people when the challenger fails badly, also while Airflow is down.

It is coarse on purpose. The judge decides, by tests that are valid at every look; the alarm is for the time in which no
judge looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code
from slipway.errors import AlarmMissingError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

#: Fewer requests in a period say nothing.
MIN_REQUESTS = 20
#: Share of failed requests in percent that is bad whatever the champion's is, unless the spec ignores much.
BAD_PCT = 5.0
_TIMES_IGNORED = 5
#: What PutMetricAlarm takes below a minute
#: (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html).
_SHORT_PERIODS = (10, 20, 30)
_MINUTE = 60


@dataclass(frozen=True)
class CanaryAlarm:
    """What is watched, and who is told.

    Args:
        endpoint: the endpoint.
        challenger: the challenger's variant.
        topic_arn: SNS topic that is told when the alarm goes off.
        period_seconds: the spec's metric period; the alarm takes the next one that CloudWatch accepts.
        ignore_below_pct: share of bad answers in percent that the spec never holds against a release.
        tags: tags of the alarm.
    """

    endpoint: str
    challenger: str
    topic_arn: str
    period_seconds: int
    ignore_below_pct: float
    tags: dict[str, str]

    @property
    def name(self) -> str:
        """The alarm's name: one for each endpoint and challenger."""
        return f"slipway-{self.endpoint}-{self.challenger}"

    def request(self) -> dict[str, Any]:
        """Build the PutMetricAlarm request."""
        threshold = max(BAD_PCT, _TIMES_IGNORED * self.ignore_below_pct)
        return {
            "AlarmName": self.name,
            "AlarmDescription": (
                f"Release {self.challenger} on {self.endpoint} fails more than {threshold:g} % of its requests. If "
                "Airflow is up, its canary is rolled back; if not, give the other variant all weight: aws sagemaker "
                "update-endpoint-weights-and-capacities."
            ),
            "ActionsEnabled": True,
            "AlarmActions": [self.topic_arn],
            "EvaluationPeriods": 1,
            "DatapointsToAlarm": 1,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": threshold,
            "TreatMissingData": "notBreaching",
            "Metrics": [
                self._sum("requests", "Invocations"),
                self._sum("errors", "Invocation5XXErrors"),
                {
                    "Id": "failed_pct",
                    "Label": "failed requests, percent",
                    "Expression": f"IF(requests >= {MIN_REQUESTS}, 100 * FILL(errors, 0) / requests, 0)",
                    "ReturnData": True,
                },
            ],
            "Tags": [{"Key": key, "Value": value} for key, value in sorted(self.tags.items())],
        }

    def _sum(self, query: str, metric: str) -> dict[str, Any]:
        dimensions = [
            {"Name": "EndpointName", "Value": self.endpoint},
            {"Name": "VariantName", "Value": self.challenger},
        ]
        return {
            "Id": query,
            "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions},
                "Period": alarm_period(self.period_seconds),
                "Stat": "Sum",
            },
            "ReturnData": False,
        }


def alarm_period(period_seconds: int) -> int:
    """Return the shortest period of at least so many seconds that an alarm may have."""
    short = next((period for period in _SHORT_PERIODS if period >= period_seconds), None)
    return short or -(-period_seconds // _MINUTE) * _MINUTE


def ensure_alarm(cloudwatch: CloudWatchClient, alarm: CanaryAlarm) -> bool:
    """Make the alarm exist.

    Returns:
        Whether it had to be made.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    if alarm_exists(cloudwatch, alarm.name):
        return False
    with aws_call(f"create alarm {alarm.name}"):
        cloudwatch.put_metric_alarm(**alarm.request())
    return True


def alarm_exists(cloudwatch: CloudWatchClient, name: str) -> bool:
    """Tell whether there is such an alarm.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    with aws_call(f"read alarm {name}"):
        return bool(cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"])


def require_alarm(cloudwatch: CloudWatchClient, name: str) -> None:
    """Refuse to go on without the alarm.

    Raises:
        AlarmMissingError: somebody deleted it.
        SlipwayError: AWS does not answer or refuses.
    """
    if not alarm_exists(cloudwatch, name):
        raise AlarmMissingError(
            f"The alarm {name} was deleted in the middle of its canary: nobody would be told if Airflow went down. The "
            "release is taken back; look at CloudTrail for who, then promote again."
        )


def remove_alarm(cloudwatch: CloudWatchClient, name: str | None) -> bool:
    """Delete the alarm; one that is gone, or never was, is fine.

    Returns:
        Whether there was any.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    if name is None or not alarm_exists(cloudwatch, name):
        return False
    with aws_call(f"delete alarm {name}"):
        try:
            cloudwatch.delete_alarms(AlarmNames=[name])
        except ClientError as error:
            if error_code(error) not in {"ResourceNotFound", "ResourceNotFoundException"}:
                raise
    return True
