"""Counts from captured traffic: what the answers are, which no metric of SageMaker tells.

SageMaker captures answered calls only, so failed and slow ones are CloudWatch's to count.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np

from slipway.aws_errors import aws_call
from slipway.canary.answer_counts import CapturedArm, count_unlike, count_unusable
from slipway.canary.counts import ComparisonCounts
from slipway.canary.metric_source import ANSWER, UNLIKE, MetricSource
from slipway.canary.window import MetricWindow
from slipway.drift.capture.calls import read_calls
from slipway.drift.objects import CaptureObject, capture_prefix, list_objects
from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NAN = float("nan")


@dataclass
class _Calls:
    """Calls of one variant: time, whether usable, number (NaN where there is none)."""

    at: array[float] = field(default_factory=lambda: array("d"))
    usable: array[float] = field(default_factory=lambda: array("d"))
    number: array[float] = field(default_factory=lambda: array("d"))
    seen: set[str] = field(default_factory=set)


class CaptureMetricSource:
    """Captured calls of two variants. Each capture object is read once in the life of the source.

    Args:
        s3: A boto3 S3 client.
        bucket: The bucket of the captures.
        endpoint: The endpoint's name.
        challenger: The challenger's variant.
        champion: The champion's variant.
    """

    def __init__(self, s3: S3Client, bucket: str, *, endpoint: str, challenger: str, champion: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._endpoint = endpoint
        self._calls = {challenger: _Calls(), champion: _Calls()}
        self._challenger, self._champion = challenger, champion

    def describe(self) -> str:
        """Where the counts come from, for the task page."""
        return f"captures in s3://{self._bucket}/{capture_prefix(self._endpoint)}"

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        """Counts of ``answer`` and ``unlike``, one entry a period of the window.

        Calls are put into periods by their own time. An object that arrives late is counted at the next look.

        Args:
            window: The closed periods.

        Raises:
            SlipwayError: S3 does not answer or refuses.
        """
        if window.periods == 0:
            return {ANSWER: ComparisonCounts(()), UNLIKE: ComparisonCounts(())}
        new, old = (_in_window(self._read(name, window), window) for name in (self._challenger, self._champion))
        return {
            ANSWER: count_unusable(new, old, window.periods),
            UNLIKE: count_unlike(new, old, window.periods),
        }

    def _read(self, variant: str, window: MetricWindow) -> _Calls:
        """Read what is new. An object is named after its first call, and none spans two hours."""
        calls = self._calls[variant]
        hour = window.start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        for found in list_objects(self._s3, self._bucket, capture_prefix(self._endpoint), variant, hour, window.end):
            if found.path not in calls.seen:
                self._add(calls, found)
                calls.seen.add(found.path)
        return calls

    def _add(self, calls: _Calls, found: CaptureObject) -> None:
        key = found.capture_key(self._endpoint)
        with aws_call(f"read s3://{self._bucket}/{key}", unavailable=StorageUnavailableError):
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
            read = list(read_calls(body))
        for call in read:
            calls.at.append(call.at)
            calls.usable.append(call.usable)
            calls.number.append(_NAN if call.number is None else call.number)


def _in_window(calls: _Calls, window: MetricWindow) -> CapturedArm:
    at = np.array(calls.at)
    period = np.floor((at - window.start.timestamp()) / window.period_seconds).astype(np.int64)
    inside = (period >= 0) & (period < window.periods)
    return CapturedArm(period[inside], np.array(calls.usable)[inside] > 0, np.array(calls.number)[inside])


class JoinedMetricSource:
    """The comparisons of several sources, which have different names.

    Args:
        sources: The sources.
    """

    def __init__(self, *sources: MetricSource) -> None:
        self._sources = sources

    def describe(self) -> str:
        """Where the counts come from, for the task page."""
        return "; ".join(source.describe() for source in self._sources)

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        """The counts of all of them."""
        return {name: counts for source in self._sources for name, counts in source.counts(window).items()}
