"""One look at a running step: read the counts, judge them, and see what time it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from slipway.canary.comparison import JudgePolicy, Verdict
from slipway.canary.judge import Look, judge
from slipway.canary.metric_source import MetricSource
from slipway.canary.patience import Hold, seconds_on_hold
from slipway.canary.progress import StepProgress
from slipway.canary.shown import lines_of
from slipway.canary.step import OnInconclusive, StepClock
from slipway.canary.window import MetricWindow, closed_window

#: The bake after the last step: the champion is warm and has no traffic.
FULL_WEIGHT_PCT = 100.0


@dataclass(frozen=True)
class StepRules:
    """What a step is judged by; frozen with the plan."""

    policies: Mapping[str, JudgePolicy]
    bake_seconds: float
    max_hold_seconds: float
    on_inconclusive: OnInconclusive
    period_seconds: int
    settle_seconds: int
    dry_run: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """A look, and the step as it stands after it."""

    window: MetricWindow
    look: Look
    step: StepProgress


def evaluate(step: StepProgress, rules: StepRules, source: MetricSource, now: datetime) -> Evaluation:
    """Look once at a step.

    Args:
        step: The step as the state has it.
        rules: What it is judged by.
        source: Where the counts come from.
        now: Time of the look; time zone aware.

    Returns:
        The look with what it found.

    Raises:
        SlipwayError: The source does not answer.
    """
    window = closed_window(step.began_at, now, period_seconds=rules.period_seconds, settle_seconds=rules.settle_seconds)
    counts = source.counts(window)
    look = judge(
        {name: counts[name] for name in rules.policies},
        dict(rules.policies),
        planned_share=step.weight_pct / 100 if step.weight_pct < FULL_WEIGHT_PCT else None,
        latched_failure=step.failed_because,
        dry_run=frozenset(rules.dry_run),
    )
    return Evaluation(window, look, _after(step, look))


def step_clock(step: StepProgress, rules: StepRules, holds: Sequence[Hold], now: datetime) -> StepClock:
    """What time it is in a step.

    Args:
        step: The step as the state has it.
        rules: Its limits of time.
        holds: When the promotion was held.
        now: The time; time zone aware.
    """
    asked = None
    if step.question:
        since = step.question.asked_at
        asked = (now - since).total_seconds() - seconds_on_hold(holds, since, now)
    return StepClock(
        elapsed_seconds=(now - step.began_at).total_seconds(),
        bake_seconds=rules.bake_seconds,
        max_hold_seconds=rules.max_hold_seconds,
        on_hold_seconds=seconds_on_hold(holds, step.began_at, now),
        asked_seconds=asked,
        answer_seconds=step.question.hours * 3600 if step.question else 0.0,
    )


def _after(step: StepProgress, look: Look) -> StepProgress:
    failed = step.failed_because
    if failed is None and look.verdict is Verdict.FAIL:
        failed = f"look {step.looks + 1}: " + "; ".join(look.reasons)
    return step.model_copy(
        update={
            "verdict": look.verdict,
            "looks": step.looks + 1,
            "said": "; ".join(look.reasons),
            "shown": lines_of(look),
            "failed_because": failed,
        }
    )
