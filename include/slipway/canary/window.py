"""Which metric periods count for a look."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class MetricWindow:
    """A run of whole, closed metric periods.

    Args:
        start: Start of the first period, in UTC.
        period_seconds: Length of a period.
        periods: How many there are; may be 0.
    """

    start: datetime
    period_seconds: int
    periods: int

    @property
    def end(self) -> datetime:
        """End of the last period (exclusive)."""
        return self.start + timedelta(seconds=self.period_seconds * self.periods)


def closed_window(began_at: datetime, now: datetime, *, period_seconds: int, settle_seconds: int) -> MetricWindow:
    """The periods that began after a step's weights were in force and have had time to be delivered.

    CloudWatch aligns periods to multiples of their length and delivers SageMaker's points late, so the period in
    which the step began is left out and the newest ones wait until ``settle_seconds`` after their end.

    Args:
        began_at: When the weights were in force; time zone aware.
        now: Time of the look; time zone aware.
        period_seconds: Length of a metric period.
        settle_seconds: How long after its end a period counts as delivered.

    Returns:
        The window, empty when no period is closed yet.
    """
    first = math.ceil(began_at.timestamp() / period_seconds)
    after_last = math.floor((now.timestamp() - settle_seconds) / period_seconds)
    start = datetime.fromtimestamp(first * period_seconds, tz=UTC)
    return MetricWindow(start=start, period_seconds=period_seconds, periods=max(0, after_last - first))
