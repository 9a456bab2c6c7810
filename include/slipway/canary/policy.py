"""From the spec's limits to what the judge accepts in each comparison."""

from __future__ import annotations

from slipway.canary.judge import JudgePolicy
from slipway.canary.metric_source import ERROR, REJECTED, SLOW
from slipway.canary.plan import CanaryPlan
from slipway.spec import PromoteSpec

#: The latency objective is read as one for 99 of 100 requests: fewer slow ones never fail a release.
SLOW_IGNORE_BELOW = 0.01


def judge_policies(promote: PromoteSpec, plan: CanaryPlan, step: int) -> dict[str, JudgePolicy]:
    """The judge's policy of each comparison.

    Args:
        promote: The spec's limits.
        plan: The frozen plan, which says how alpha is shared.
        step: Number of the step, from 1; the bake has the number after the last weight's.

    Returns:
        Policies by comparison; ``slow`` only when the spec has a latency objective.
    """
    ignored = promote.ignore_errors_below_pct / 100
    floors = {ERROR: ignored, REJECTED: ignored}
    if promote.latency_slo_ms is not None:
        floors[SLOW] = max(SLOW_IGNORE_BELOW, ignored)
    return {
        name: JudgePolicy(
            alpha=plan.alpha_of(step, name),
            max_ratio=promote.max_error_ratio,
            ignore_below=floor,
            min_requests=promote.min_requests,
        )
        for name, floor in floors.items()
    }
