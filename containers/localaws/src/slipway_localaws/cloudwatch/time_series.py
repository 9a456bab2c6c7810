"""Points in time, as queries and alarms see a metric."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TimeSeries:
    """Values at the starts of periods.

    Args:
        points: value by seconds since the epoch, in order of time.
        period: length of a period in seconds.
        label: how it is called in a legend.
    """

    points: dict[int, float] = field(default_factory=dict)
    period: int = 60
    label: str = ""


def floor_start(start: float, period: int) -> int:
    """Where the first period begins.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html: rounded down to
    the whole minute, and for shorter periods to a multiple of them.
    """
    step = min(period, 60)
    return int(start // step * step)
