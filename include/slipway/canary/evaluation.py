"""One look at a running step: read the counts, judge them, decide what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from slipway.canary.judge import JudgePolicy, Look, Verdict, judge
from slipway.canary.metric_source import MetricSource
from slipway.canary.progress import StepProgress
from slipway.canary.shown import lines_of
from slipway.canary.step import OnInconclusive, StepClock, StepDecision, StepFlags, decide
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
    """A look, the decision after it, and the step as it stands then."""

    window: MetricWindow
    look: Look
    decision: StepDecision
    step: StepProgress


def evaluate(step: StepProgress, rules: StepRules, source: MetricSource, flags: StepFlags, now: datetime) -> Evaluation:
    """Look once at a step.

    Args:
        step: The step as the state has it.
        rules: What it is judged by.
        source: Where the counts come from.
        flags: What people asked for.
        now: Time of the look; time zone aware.

    Returns:
        The look with its decision.

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
    clock = StepClock(
        elapsed_seconds=(now - step.began_at).total_seconds(),
        bake_seconds=rules.bake_seconds,
        max_hold_seconds=rules.max_hold_seconds,
    )
    return Evaluation(window, look, decide(look, clock, flags, rules.on_inconclusive), _after(step, look))


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
