"""From the spec's limits to what the judge accepts in each comparison."""

from __future__ import annotations

from slipway.canary.comparison import JudgePolicy
from slipway.canary.metric_source import ANSWER, ERROR, REJECTED, SLOW, UNLIKE
from slipway.canary.plan import CanaryPlan
from slipway.spec import PromoteSpec

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
        are served, since it compares answers of the same time.
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
    return {
        name: JudgePolicy(
            alpha=plan.alpha_of(step, name),
            max_ratio=promote.max_error_ratio,
            ignore_below=floor,
            min_requests=promote.min_requests,
        )
        for name, floor in floors.items()
    }
