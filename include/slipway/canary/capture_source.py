"""Counts from captured traffic: what the answers are, which no metric of SageMaker tells.

SageMaker captures answered calls only, so failed and slow ones are CloudWatch's to count.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slipway.aws_errors import aws_call
from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts
from slipway.canary.metric_source import ANSWER, UNLIKE, MetricSource
from slipway.canary.window import MetricWindow
from slipway.drift.capture.calls import read_calls
from slipway.drift.objects import CaptureObject, capture_prefix, list_objects
from slipway.errors import StorageUnavailableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TAILS = (0.01, 0.99)
#: Fewer answers of the champion do not say where its tails are.
MIN_ANSWERS = 200
_GROWTH = 1.1
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
        arms = [_in_window(self._read(name, window), window) for name in (self._challenger, self._champion)]
        tails = _tails(arms[1], window.periods)
        return {
            ANSWER: _compared([_usable_counts(arm, window.periods) for arm in arms]),
            UNLIKE: _compared([_unlike_counts(arm, window.periods, tails) for arm in arms]),
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


@dataclass(frozen=True)
class _Arm:
    """Calls within a window: the number of the period of each."""

    period: NDArray[np.int64]
    usable: NDArray[np.bool_]
    number: NDArray[np.float64]


def _in_window(calls: _Calls, window: MetricWindow) -> _Arm:
    at = np.array(calls.at)
    period = np.floor((at - window.start.timestamp()) / window.period_seconds).astype(np.int64)
    inside = (period >= 0) & (period < window.periods)
    return _Arm(period[inside], np.array(calls.usable)[inside] > 0, np.array(calls.number)[inside])


def _tails(champion: _Arm, periods: int) -> NDArray[np.float64]:
    """For each period the champion's tails before it: limits that do not depend on what they are applied to.

    They are computed anew whenever the answers before have grown by a tenth, so a long wait costs little.

    Returns:
        An array of (low, high); NaN where there are too few answers.
    """
    has_number = np.isfinite(champion.number)
    period, number = champion.period[has_number], champion.number[has_number]
    order = np.argsort(period, kind="stable")
    period, number = period[order], number[order]
    limits = np.full((periods, 2), _NAN)
    present, known = np.array([_NAN, _NAN]), 0
    for index, count in enumerate(np.searchsorted(period, np.arange(periods), side="left")):
        if count >= max(MIN_ANSWERS, known * _GROWTH):
            present, known = np.quantile(number[:count], TAILS), int(count)
        limits[index] = present
    return limits


def _usable_counts(arm: _Arm, periods: int) -> list[ArmCounts]:
    requests = np.bincount(arm.period, minlength=periods)
    bad = np.bincount(arm.period[~arm.usable], minlength=periods)
    return [ArmCounts(int(every), int(part)) for every, part in zip(requests, bad, strict=True)]


def _unlike_counts(arm: _Arm, periods: int, tails: NDArray[np.float64]) -> list[ArmCounts]:
    low, high = tails[arm.period].T
    compared = np.isfinite(arm.number) & np.isfinite(low)
    outside = compared & ((arm.number < low) | (arm.number > high))
    requests = np.bincount(arm.period[compared], minlength=periods)
    bad = np.bincount(arm.period[outside], minlength=periods)
    return [ArmCounts(int(every), int(part)) for every, part in zip(requests, bad, strict=True)]


def _compared(arms: Sequence[Sequence[ArmCounts]]) -> ComparisonCounts:
    return ComparisonCounts(tuple(PeriodCounts(*pair) for pair in zip(*arms, strict=True)))


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
