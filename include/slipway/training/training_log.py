"""What a training job prints, as CloudWatch Logs gets to know it.

https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html: the streams of a job are called
``<job>/algo-<n>-<time>``. An interrupted spot job has one for each time that it was started.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, error_code

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

_LONGEST_LINE = 2_000
_MOST_PAGES = 50  # of one call; what is left comes with the next
# Escape sequences and other control characters could rewrite what a terminal or a log page shows.
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class TrainingLog:
    """Reads on where it stopped.

    Args:
        logs: A boto3 CloudWatch Logs client.
        group: The log group.
        job: The job, with whose name its streams begin.
    """

    def __init__(self, logs: CloudWatchLogsClient, group: str, job: str) -> None:
        self._logs = logs
        self._group = group
        self._job = job
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> list[str]:
        """Lines since the last call, stream by stream; none while there is no stream.

        Raises:
            SlipwayError: CloudWatch Logs does not answer or refuses.
        """
        with aws_call(f"read the log of {self._job}"):
            return [line for stream in self._streams() for line in self._of(stream)]

    def _streams(self) -> list[str]:
        try:
            pages = self._logs.get_paginator("describe_log_streams").paginate(
                logGroupName=self._group, logStreamNamePrefix=f"{self._job}/"
            )
            return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return []
            raise

    def _of(self, stream: str) -> list[str]:
        found: list[str] = []
        for _ in range(_MOST_PAGES):
            token = self._tokens.get(stream)
            read = partial(
                self._logs.get_log_events, logGroupName=self._group, logStreamName=stream, startFromHead=True
            )
            answer = read(nextToken=token) if token else read()
            found += [printable(event["message"]) for event in answer["events"]]
            self._tokens[stream] = answer["nextForwardToken"]
            # "If you have reached the end of the stream, it returns the same token you passed in."
            if answer["nextForwardToken"] == token:
                break
        return found


def printable(text: str) -> str:
    """What somebody else printed, as one line that a log page can show."""
    shown = text.rstrip().rpartition("\r")[2]  # of a progress bar that overwrites itself, the last
    clean = _UNPRINTABLE.sub("", shown).replace("\n", " ⏎ ")
    return clean if len(clean) <= _LONGEST_LINE else clean[: _LONGEST_LINE - 1] + "…"
