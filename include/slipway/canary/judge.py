"""The judge: from counts to a verdict, with reasons.

A look compares the challenger with the champion on Bernoulli outcomes (``error``: the request failed by the model's
fault; ``slow``: it took longer than the objective; see :mod:`slipway.canary.comparison`) and puts the verdicts
together. Each look recomputes everything from the closed metric periods since the step began, so a point that
CloudWatch delivers late is counted at the next look.
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.canary.comparison import ComparisonResult, JudgePolicy, Verdict, compare
from slipway.canary.counts import ComparisonCounts
from slipway.canary.share import ShareCheck, check_share


@dataclass(frozen=True)
class Look:
    """One evaluation of a step: the verdict over all comparisons."""

    verdict: Verdict
    reasons: tuple[str, ...]
    comparisons: tuple[ComparisonResult, ...]
    share: ShareCheck | None


def judge(
    comparisons: dict[str, ComparisonCounts],
    policies: dict[str, JudgePolicy],
    *,
    planned_share: float | None,
    latched_failure: str | None = None,
    dry_run: frozenset[str] = frozenset(),
) -> Look:
    """Look once.

    Args:
        comparisons: Counts since the step began, by the comparison's name.
        policies: What to accept, by the same names.
        planned_share: The challenger's planned share of the requests, between 0 and 1 exclusive; None when the arms
            were not served side by side.
        latched_failure: Why an earlier look of this step failed; a failure stays one.
        dry_run: Comparisons that are shown but not acted on.

    Returns:
        The verdict with its reasons, one a comparison.
    """
    results = tuple(
        compare(name, counts, policies[name], dry_run=name in dry_run) for name, counts in comparisons.items()
    )
    acted_on = [result for result in results if not result.dry_run]
    share = _share([comparisons[result.name] for result in acted_on], planned_share)
    if latched_failure:
        return Look(Verdict.FAIL, (f"an earlier look failed: {latched_failure}",), results, share)
    deciding = [result for result in acted_on if result.waited_for or result.verdict is Verdict.FAIL]
    verdict = _combine([result.verdict for result in deciding])
    reasons = tuple(f"{result.name}: {result.reason}" for result in deciding if result.verdict is verdict)
    if share is not None and share.mismatch and verdict in (Verdict.PASS, Verdict.INCONCLUSIVE):
        return Look(Verdict.INCONCLUSIVE, (share.reason,), results, share)
    return Look(verdict, reasons, results, share)


def _combine(verdicts: list[Verdict]) -> Verdict:
    for verdict in (Verdict.FAIL, Verdict.NO_DATA, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if verdicts else Verdict.NO_DATA


def _share(acted_on: list[ComparisonCounts], planned_share: float | None) -> ShareCheck | None:
    of_step = [counts for counts in acted_on if counts.of_step]
    if not of_step or planned_share is None:
        return None
    largest = max(of_step, key=lambda counts: counts.challenger.requests + counts.champion.requests)
    return check_share(largest.challenger.requests, largest.champion.requests, planned_share)
