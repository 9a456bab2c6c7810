"""What is watched in production, and what follows from drift."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from slipway.spec.section import Section
from slipway.spec.values import S3Prefix, Schedule, Timezone


class MonitorSpec(Section):
    """What is watched in production, and what follows from drift."""

    schedule: Schedule = Field("@hourly", description="Cron expression or preset: when captured traffic is looked at.")
    timezone: Timezone = Field("UTC", description="Time zone of the schedule.")
    capture_pct: int = Field(
        100, ge=0, le=100, description="Share of requests and answers that is recorded, in percent."
    )
    labels: S3Prefix | None = Field(
        None, description="Folder in S3 where the true outcomes arrive; left out: quality over time is not measured."
    )
    on_drift: Literal["retrain", "notify", "ignore"] = Field(
        "notify", description="What follows from drift: a retraining (needs `retrain`), a message, nothing."
    )
    window_hours: float = Field(
        24.0, gt=0, le=8760, description="Hours of the latest traffic that are judged together at each run."
    )
    tolerance: float = Field(
        0.1, ge=0, lt=1, description="Distance from the training data that does not matter, 0 to 1, for each column."
    )
    rate_tolerance: float = Field(
        0.05, ge=0, lt=1, description="Change of the share of missing, new or unreadable values that does not matter."
    )
    false_alarms_per_year: float = Field(
        1.0, gt=0, le=365, description="False alarms a year that are accepted; fewer need stronger evidence."
    )
    learning_rows: int = Field(
        5000, ge=500, description="Captured rows that become the baseline of a model which was logged without one."
    )
    quiet_hours: float = Field(
        24.0, gt=0, le=8760, description="Hours without a single call after which that is told as a change of state."
    )
    cooldown_hours: float = Field(
        168.0, ge=0, le=8760, description="Hours after a retraining for drift in which no other one follows."
    )
    max_retrains_per_month: int = Field(
        2, ge=0, le=100, description="Retrainings for drift within 30 days; after them drift is only told."
    )
