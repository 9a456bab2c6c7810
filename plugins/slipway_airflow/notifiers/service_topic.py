"""Tell a service's SNS topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier, conf

from slipway.aws_errors import aws_call
from slipway.errors import SlipwayError
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from airflow.sdk import Context

MAX_SUBJECT_CHARACTERS = 100  # SNS refuses longer ones, and line breaks in them


class ServiceTopicNotifier(BaseNotifier):
    """Publish a message with a link to the run.

    A message that cannot be sent is logged and no more: the work that it is about must not fail for it.

    :param topic_arn: ARN of the SNS topic.
    :param subject: Subject, cut after 100 characters. (templated)
    :param message: Text; the run's address is put below. (templated)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (default: aws_default)
    """

    template_fields = ("subject", "message")

    def __init__(self, *, topic_arn: str, subject: str, message: str, aws_conn_id: str | None = "aws_default") -> None:
        super().__init__()
        self.topic_arn = topic_arn
        self.subject = subject
        self.message = message
        self.aws_conn_id = aws_conn_id

    def notify(self, context: Context) -> None:
        """Publish it."""
        run = context["dag_run"]
        base_url = conf.get("api", "base_url", fallback="").rstrip("/")
        text = f"{self.message}\n\n{base_url}/dags/{run.dag_id}/runs/{run.run_id}"
        subject = " ".join(self.subject.split())[:MAX_SUBJECT_CHARACTERS]
        try:
            sns = SlipwayAwsHook(aws_conn_id=self.aws_conn_id).client("sns")
            with aws_call(f"tell {self.topic_arn}"):
                sns.publish(TopicArn=self.topic_arn, Subject=subject, Message=text)
        except SlipwayError as error:
            self.log.warning("%s", error)
