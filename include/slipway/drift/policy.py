"""What counts as drift for a service, from its spec."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway.drift.judge import DriftPolicy
from slipway.spec.monitor import MonitorSpec

_HOURS_PER_YEAR = 8766.0


def policy_of(monitor: MonitorSpec) -> DriftPolicy:
    """Return the policy of a service."""
    return DriftPolicy(
        tolerance=monitor.tolerance,
        rate_tolerance=monitor.rate_tolerance,
        runs_per_year=runs_per_year(monitor.schedule),
        false_alarms_per_year=monitor.false_alarms_per_year,
    )


def runs_per_year(schedule: str) -> float:
    """Return how often a schedule runs in a year, counted over 400 days or 2,000 runs."""
    from croniter import croniter  # type: ignore[import-untyped]

    preset = {"@quarterly": "0 0 1 */3 *"}.get(schedule, schedule)
    begin = datetime(2021, 1, 1, tzinfo=UTC)
    times = croniter(preset, begin)
    last, count = begin, 0
    while (last - begin).days < 400 and count < 2000:
        last, count = times.get_next(datetime), count + 1
    return count * _HOURS_PER_YEAR * 3600 / (last - begin).total_seconds()
