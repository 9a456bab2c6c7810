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
