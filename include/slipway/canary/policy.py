"""From the spec's limits to what the judge accepts in each comparison."""

from __future__ import annotations

from slipway.canary.judge import JudgePolicy
from slipway.canary.metric_source import ERROR, REJECTED, SLOW
from slipway.canary.plan import CanaryPlan
from slipway.spec import PromoteSpec

#: The latency objective is read as one for 99 of 100 requests: fewer slow ones never fail a release.
SLOW_IGNORE_BELOW = 0.01


def judge_policies(promote: PromoteSpec, plan: CanaryPlan) -> dict[str, JudgePolicy]:
    """The judge's policy of each comparison.

    Args:
        promote: The spec's limits.
        plan: The frozen plan, which says how alpha is shared.

    Returns:
        Policies by comparison; ``slow`` only when the spec has a latency objective.
    """
    error = JudgePolicy(
        alpha=plan.alpha_per_comparison,
        max_ratio=promote.max_error_ratio,
        ignore_below=promote.ignore_errors_below_pct / 100,
        min_requests=promote.min_requests,
    )
    policies = {ERROR: error, REJECTED: error}
    if promote.latency_slo_ms is not None:
        policies[SLOW] = JudgePolicy(
            alpha=plan.alpha_per_comparison,
            max_ratio=promote.max_error_ratio,
            ignore_below=max(SLOW_IGNORE_BELOW, promote.ignore_errors_below_pct / 100),
            min_requests=promote.min_requests,
        )
    return policies
