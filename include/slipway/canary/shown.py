"""A look in words: the same line for the task page, the command line, the approver."""

from __future__ import annotations

from slipway.canary.comparison import ComparisonResult
from slipway.canary.counts import ArmCounts
from slipway.canary.judge import Look


def lines_of(look: Look) -> tuple[str, ...]:
    """A line for each comparison of a look, and one when the shares do not fit the weights.

    Args:
        look: The look.
    """
    lines = [line_of(result) for result in look.comparisons]
    if look.share and look.share.mismatch:
        lines.append(look.share.reason)
    return tuple(lines)


def line_of(result: ComparisonResult) -> str:
    """One comparison: verdict, both rates with counts and 95 % intervals, evidence, requests still needed.

    Args:
        result: The comparison.
    """
    arms = " against ".join(
        _arm(counts, interval)
        for counts, interval in (
            (result.challenger, result.challenger_interval),
            (result.champion, result.champion_interval),
        )
    )
    evidence = (
        f"worse: e {_number(result.e_value)} of {_number(result.e_value_needed)}, "
        f"below {result.rate_to_rule_out:.2%}: e {_number(result.e_value_no_worse)} of "
        f"{_number(result.e_value_no_worse_needed)}"
    )
    shown = " (only shown)" if result.dry_run else "" if result.waited_for else " (not waited for)"
    return f"{result.name} {result.verdict}{shown}: {arms}; {evidence}{_needed(result)}"


def _arm(counts: ArmCounts, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{counts.bad:,} of {counts.requests:,} = {counts.rate:.2%} ({low:.2%} to {high:.2%})"


def _number(value: float) -> str:
    """An e-value: two digits are enough, and beyond a million only its size matters."""
    if value >= 1e6:
        return f"{value:.0e}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _needed(result: ComparisonResult) -> str:
    return f"; about {result.requests_needed:,} more {result.counted} needed" if result.requests_needed else ""
