"""What is watched in production, and what follows from drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.spec.retrain import GateExpression
from slipway.spec.section import Section, TextRule, broken_rule
from slipway.spec.values import S3Prefix, Schedule, Timezone, unique
from slipway.training.gate_expression import parse_expression

# Profiles are handed over in a folder of the driver's machine, and were not tried over Spark Connect.
ProfilingProperty = Annotated[
    str,
    TextRule(
        "a property of Spark such as spark.master, but not spark.remote: only retrainings use Spark Connect",
        r"spark\.(?!remote$)[\w.-]+",
        200,
    ),
]
#: What is measured of each kind of answer when outcomes arrive.
MEASURED: Mapping[str, tuple[str, ...]] = {
    "binary": ("areaUnderROC", "accuracy", "precision", "recall", "logLoss", "brier"),
    "multiclass": ("accuracy",),
    "regression": ("rmse", "mse", "mae", "bias"),
}


class QualitySpec(Section):
    """How outcomes are matched with answers, and how good the answers have to be."""

    task: Literal["binary", "multiclass", "regression"] = Field(
        "binary", description="Kind of answer: the chance of the outcome 1, a class, or a number."
    )
    label: str = Field("label", min_length=1, description="Column of the outcomes' files that holds the outcome.")
    key: Annotated[tuple[str, ...], AfterValidator(unique)] = Field(
        (),
        strict=False,
        description="Columns, of requests and outcomes, that say which call an outcome belongs to (the latest call "
        "before it); left out: `inference_id`, and `row` in requests of many rows.",
    )
    prediction: str | None = Field(
        None, description="Column of the answer that is compared with the outcome; left out: the last one."
    )
    wait_hours: float = Field(
        72.0, gt=0, le=8760, description="Hours after a call in which its outcome is waited for; then it is measured."
    )
    slices: Annotated[tuple[str, ...], AfterValidator(unique)] = Field(
        (), strict=False, description="Features for each of whose values quality is measured too."
    )
    expect: Annotated[tuple[GateExpression, ...], AfterValidator(unique)] = Field(
        (), strict=False, description="Bounds that the answers have to keep, such as `areaUnderROC >= 0.70`."
    )
    min_coverage_pct: float = Field(
        50.0, ge=0, le=100, description="Share of calls whose outcome has to be known for a verdict, in percent."
    )

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        for number, text in enumerate(self.expect):
            bound = parse_expression(text)
            if bound.needs_champion:
                raise broken_rule("a metric against a number, such as accuracy >= 0.9", "expect", number)
            if bound.metric not in MEASURED[self.task]:
                raise broken_rule(f"a metric of task {self.task}: {', '.join(MEASURED[self.task])}", "expect", number)
        return self


class AlarmsSpec(Section):
    """The CloudWatch alarms of the production endpoint; the limit of the latency is `promote.latency_slo_ms`."""

    enabled: bool = Field(True, description="Whether alarms are created at all.")
    error_pct: float = Field(
        1.0, gt=0, le=100, description="Share of calls that may fail on the server's side, in percent."
    )
    utilization_pct: float = Field(
        90.0, gt=0, le=1000, description="Highest use of processors, memory and disk, in percent (of one processor)."
    )


class ProfilingSpec(Section):
    """What counts the captured calls; the profiles are the same whoever does."""

    engine: Literal["threads", "spark"] = Field(
        "threads", description="The task's own process, or Spark, each of whose tasks counts a capture object."
    )
    threads: int = Field(4, ge=1, le=64, description="Capture objects that the task's process reads at a time.")
    spark: dict[ProfilingProperty, str] = Field(
        default_factory=dict,
        max_length=100,
        description="Spark properties: `spark.master` names a cluster; without it `local[*]`.",
    )


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
    quality: QualitySpec = Field(QualitySpec(), description="How answers are compared with `labels`.")
    alarms: AlarmsSpec = Field(
        AlarmsSpec(), description="CloudWatch alarms on errors, latency and use of the instances."
    )
    profiling: ProfilingSpec = Field(ProfilingSpec(), description="What counts the captured calls.")
    on_drift: Literal["retrain", "notify", "ignore"] = Field(
        "notify", description="What follows from drift: a retraining (needs `retrain`), a message, nothing."
    )
    window_hours: float = Field(
        24.0, gt=0, le=8760, description="Hours of the latest traffic that are judged together at each run."
    )
    tolerance: float = Field(
        0.1, gt=0, lt=1, description="Distance from the training data that does not matter, 0 to 1, for each column."
    )
    rate_tolerance: float = Field(
        0.05, gt=0, lt=1, description="Change of the share of missing, new or unreadable values that does not matter."
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
