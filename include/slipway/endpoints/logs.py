"""The end of an endpoint's container logs, for the error of an endpoint that did not get healthy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

_STREAMS = 4
_LONGEST_LINE = 500
# Escape sequences and other control characters could rewrite what a terminal or a log page shows.
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def log_group(endpoint: str) -> str:
    """Return the CloudWatch Logs group to which SageMaker writes an endpoint's containers' output.

    https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
    """
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def log_tail(logs: CloudWatchLogsClient, endpoint: str, lines: int = 40) -> str:
    """Return the last lines that an endpoint's containers wrote.

    Args:
        logs: a boto3 CloudWatch Logs client.
        endpoint: the endpoint's name.
        lines: how many lines at most, over the newest instances together.

    Returns:
        The lines in the order of time, each behind the stream (variant and instance) when there are several; control
        characters are taken out and long lines cut. "" when nothing was logged.

    Raises:
        SlipwayError: CloudWatch Logs does not answer or refuses.
    """
    group = log_group(endpoint)
    found: list[tuple[int, str, str]] = []
    with aws_call(f"read the log of {endpoint}"):
        try:
            answer = logs.describe_log_streams(
                logGroupName=group, orderBy="LastEventTime", descending=True, limit=_STREAMS
            )
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return ""
            raise
        names = [stream["logStreamName"] for stream in answer["logStreams"]]
        for name in names:
            events = logs.get_log_events(logGroupName=group, logStreamName=name, limit=lines, startFromHead=False)
            found += [(event["timestamp"], name, event["message"]) for event in events["events"]]
    found.sort(key=lambda event: event[0])  # stable: lines of one moment keep their order
    return "\n".join(_line(name if len(names) > 1 else "", text) for _, name, text in found[-lines:])


def _line(stream: str, text: str) -> str:
    clean = _UNPRINTABLE.sub("", text.rstrip()).replace("\n", " ⏎ ")
    cut = clean if len(clean) <= _LONGEST_LINE else clean[: _LONGEST_LINE - 1] + "…"
    return f"[{stream}] {cut}" if stream else cut
