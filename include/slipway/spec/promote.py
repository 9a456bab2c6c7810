"""How an approved release takes over production traffic, and what sends it back."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from slipway.spec.hooks import AFTER, HookSpec, Place, PromotionPoint, meets
from slipway.spec.section import Section, broken_rule
from slipway.spec.values import unique

_HIGH_RESOLUTION_PERIODS = (1, 5, 10, 20, 30)
"""The periods below a minute that CloudWatch keeps (GetMetricData, parameter Period)."""


def _check_period(seconds: int) -> int:
    if seconds in _HIGH_RESOLUTION_PERIODS or seconds % 60 == 0:
        return seconds
    raise broken_rule("a period that CloudWatch keeps: 1, 5, 10, 20, 30 or a multiple of 60 seconds")


def _check_weights(weights: tuple[float, ...]) -> tuple[float, ...]:
    if all(0 < weight < 100 for weight in weights) and all(a < b for a, b in itertools.pairwise(weights)):
        return weights
    raise broken_rule("percentages that increase, each above 0 and below 100, such as [5, 25, 50]")


Comparison = Literal["error", "slow", "rejected", "answer", "unlike", "wrong"]
_CLOUDWATCH = ("error", "slow", "rejected")
_CAPTURES = ("answer", "unlike")
COMPARISONS = {"cloudwatch": _CLOUDWATCH, "captures": _CAPTURES, "both": (*_CLOUDWATCH, *_CAPTURES)}


class WrongSpec(Section):
    """Answers held against the outcomes that arrive in `monitor.labels` while a release is promoted."""

    tolerance: float | None = Field(
        None,
        ge=0,
        description="Difference between answer and outcome, in their unit, up to which a number is right; only, and "
        "always, with `monitor.quality.task: regression`.",
    )
    min_outcomes: int = Field(
        0,
        ge=0,
        description="Outcomes of the release's answers that a step needs for a pass; 0: no step waits for any, and "
        "those that arrive can only send the release back.",
    )


class MetricsSpec(Section):
    """Which metric points a verdict may count."""

    period_seconds: Annotated[int, AfterValidator(_check_period)] = Field(
        60, ge=1, le=3600, description="Length of one metric period in seconds."
    )
    settle_seconds: int = Field(
        120, ge=0, le=3600, description="Seconds after the end of a period until its points are taken as complete."
    )
    source: Literal["cloudwatch", "captures", "both"] = Field(
        "cloudwatch",
        description="`cloudwatch` counts failed, slow and refused calls, `captures` looks at the answers of captured "
        "calls (needs `monitor.capture_pct`).",
    )
    dry_run: Annotated[tuple[Comparison, ...], AfterValidator(unique)] = Field(
        ("unlike",), strict=False, description="Comparisons that are shown and decide nothing."
    )
    wrong: WrongSpec | None = Field(
        None,
        description="Counts answers that turn out wrong (needs `monitor.labels` and `monitor.capture_pct`); `{}` is "
        "enough; left out: not judged.",
    )

    @model_validator(mode="after")
    def _check_dry_run(self) -> Self:
        always_there = [name for name in COMPARISONS[self.source] if name not in ("slow", "unlike")]
        if set(always_there) <= set(self.dry_run):
            raise broken_rule(f"that one of {', '.join(always_there)} decides with source {self.source}", "dry_run")
        return self


class PromoteSpec(Section):
    """The plan by which traffic moves to a release, and the limits that it must keep."""

    strategy: Literal["canary", "all_at_once"] = Field(
        "canary",
        description="`canary` moves traffic in judged steps; `all_at_once` moves it in one and judges none: it asks "
        "the golden rows, then hooks and gates at `after`.",
    )
    weights_pct: Annotated[tuple[float, ...], AfterValidator(_check_weights)] = Field(
        (5.0, 25.0, 50.0),
        strict=False,
        min_length=1,
        max_length=20,
        description="Shares of traffic in percent, step by step; 100 follows by itself.",
    )
    bake_minutes: float = Field(10.0, gt=0, le=1440, description="Minutes between a step and its first final verdict.")
    alpha: float = Field(
        0.01, gt=0, le=0.5, description="Highest chance that a release as good as the champion is sent back."
    )
    max_error_ratio: float = Field(
        1.0, ge=1, le=100, description="How many times the champion's share of bad answers a release may have."
    )
    ignore_errors_below_pct: float = Field(
        0.1, ge=0, lt=100, description="Share of bad answers in percent that is never held against a release."
    )
    latency_slo_ms: float | None = Field(
        None, gt=0, le=60_000, description="Milliseconds above which an answer counts as slow; left out: not judged."
    )
    min_requests: int = Field(1000, ge=1, description="Requests to the release that a step needs for a verdict.")
    max_hold_hours: float = Field(
        6.0, ge=0, le=168, description="Hours that a step waits when there is too little traffic; not counting holds."
    )
    on_inconclusive: Literal["ask", "roll_back", "promote"] = Field(
        "ask",
        description="What happens when that time is over without a verdict; `ask` waits for `slipway approve-now` or "
        "`abort`, for `approval.timeout_hours`, then rolls back.",
    )
    keep_warm_minutes: float = Field(
        60.0,
        ge=0,
        le=10_080,
        description="Minutes that the old champion stays at weight 0, for a rollback within seconds.",
    )
    keep_previous_days: float = Field(
        30.0, gt=0, le=3650, description="Days within which `rollback` can go back to the champion of before."
    )
    metrics: MetricsSpec = Field(MetricsSpec(), description="Which metric points are counted.")
    hooks: tuple[HookSpec, ...] = Field(
        (), strict=False, max_length=10, description="Programs of yours that are asked on the way, in this order."
    )
    gates: Annotated[tuple[PromotionPoint, ...], AfterValidator(unique)] = Field(
        (),
        strict=False,
        max_length=24,
        description="Where an approver is asked: `before` the first step, `between` steps, `after` the last, or before "
        "the step of a number.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.strategy != "canary" and "weights_pct" in self.changed_fields():
            raise broken_rule(f"no weights_pct with strategy {self.strategy}, which has no steps", "weights_pct")
        if self.bake_minutes * 60 < self.metrics.period_seconds:
            raise broken_rule(
                f"at least one metric period, which is {self.metrics.period_seconds} seconds", "bake_minutes"
            )
        self._check_hooks()
        return self

    def _check_hooks(self) -> None:
        names = [hook.name for hook in self.hooks]
        for number, hook in enumerate(self.hooks):
            if hook.name in names[:number]:
                raise broken_rule("each hook's name once", "hooks", number, "name")
            self._check_points(hook.at, "hooks", number, "at")
        self._check_points(self.gates, "gates")

    def _check_points(self, points: tuple[int | str, ...], *field: str | int) -> None:
        last = len(self.weights_pct) + 1
        for index, point in enumerate(points):
            if self.strategy != "canary" and point != AFTER:
                raise broken_rule(f"only {AFTER} with strategy {self.strategy}, which has no steps", *field, index)
            if isinstance(point, int) and point > last:
                raise broken_rule(f"a step from 1 to {last}, which is all traffic", *field, index)

    def hooks_at(self, place: Place) -> tuple[HookSpec, ...]:
        """Return the hooks that are asked at a place, in their order."""
        return tuple(hook for hook in self.hooks if meets(hook.at, place))

    def asks_at(self, place: Place) -> bool:
        """Tell whether a person is asked at a place."""
        return meets(self.gates, place)
