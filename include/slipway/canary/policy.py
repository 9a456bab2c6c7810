"""From the spec's limits to what the judge accepts in each comparison."""

from __future__ import annotations

from slipway.canary.comparison import JudgePolicy
from slipway.canary.metric_source import ANSWER, ERROR, REJECTED, SLOW, UNLIKE, WRONG
from slipway.canary.plan import CanaryPlan
from slipway.spec import PromoteSpec
from slipway.spec.promote import WrongSpec

#: The latency objective is read as one for 99 of 100 requests: fewer slow ones never fail a release.
SLOW_IGNORE_BELOW = 0.01
#: A fiftieth of the champion's own answers lie in its tails; a release may have somewhat more there.
UNLIKE_IGNORE_BELOW = 0.05


def judge_policies(promote: PromoteSpec, plan: CanaryPlan, step: int) -> dict[str, JudgePolicy]:
    """The judge's policy of each comparison.

    Args:
        promote: The spec's limits.
        plan: The frozen plan, which says how alpha is shared.
        step: Number of the step, from 1; the bake has the number after the last weight's.

    Returns:
        Policies by comparison; ``slow`` only when the spec has a latency objective, ``unlike`` only while both arms
        are served, since it compares answers of the same time, ``wrong`` only when plan and spec have it.
    """
    ignored = promote.ignore_errors_below_pct / 100
    floors: dict[str, float] = {}
    if plan.source != "captures":
        floors |= {ERROR: ignored, REJECTED: ignored}
        if promote.latency_slo_ms is not None:
            floors[SLOW] = max(SLOW_IGNORE_BELOW, ignored)
    if plan.source != "cloudwatch":
        floors[ANSWER] = ignored
        if step <= len(plan.weights_pct):
            floors[UNLIKE] = max(UNLIKE_IGNORE_BELOW, ignored)
    policies = {
        name: JudgePolicy(
            alpha=plan.alpha_of(step, name),
            max_ratio=promote.max_error_ratio,
            ignore_below=floor,
            min_requests=promote.min_requests,
        )
        for name, floor in floors.items()
    }
    if plan.outcomes and promote.metrics.wrong is not None:
        policies[WRONG] = _policy_of_outcomes(promote, promote.metrics.wrong, plan.alpha_of(step, WRONG))
    return policies


def _policy_of_outcomes(promote: PromoteSpec, wrong: WrongSpec, alpha: float) -> JudgePolicy:
    """Wrong answers are no outage: a champion that is often wrong can be compared as any other."""
    return JudgePolicy(
        alpha=alpha,
        max_ratio=promote.max_error_ratio,
        ignore_below=promote.ignore_errors_below_pct / 100,
        min_requests=wrong.min_outcomes,
        hold_above=1.0,
        waited_for=wrong.min_outcomes > 0,
        counted="outcomes",
    )
