"""The gate after an evaluation: does the candidate go on to deploy?

A pure decision on metrics. What cannot be judged (a metric that is missing or not a number, no champion to compare
with) is *hold*, never *deploy*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from slipway.training.gate_expression import Beats, ChampionBound, GateExpression, Threshold, parse_expression

Mode = Literal["manual", "automatic", "threshold"]
Combination = Literal["all", "any"]
#: Metrics of which less is better, by the last part of the name; everything else is "more is better".
LOWER_IS_BETTER = frozenset(
    {"rmse", "mse", "mae", "mape", "smape", "logloss", "log_loss", "loss", "brier", "deviance", "error", "hinge_loss"}
)


class GateAction(StrEnum):
    """What follows the gate."""

    DEPLOY = "deploy"
    HOLD = "hold"


@dataclass(frozen=True)
class Improvement:
    """Confidence interval of the paired difference candidate minus champion in one metric."""

    low: float
    high: float
    confidence_pct: float


@dataclass(frozen=True)
class Evidence:
    """What an evaluation found.

    Args:
        candidate: The candidate's metrics on the held-out rows.
        champion: The champion's metrics on the same rows; empty without a champion.
        improvements: Paired intervals by metric and confidence in percent.
    """

    candidate: Mapping[str, float]
    champion: Mapping[str, float] = field(default_factory=dict)
    improvements: Mapping[tuple[str, float], Improvement] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """One expression with the numbers that decided it; ``passed`` is None when it could not be judged."""

    expression: str
    passed: bool | None
    reason: str


@dataclass(frozen=True)
class GateVerdict:
    """The decision, with every comparison."""

    action: GateAction
    reason: str
    comparisons: tuple[Comparison, ...]


def decide(mode: Mode, expressions: Sequence[str], evidence: Evidence, combination: Combination = "all") -> GateVerdict:
    """Decide whether a candidate goes on.

    Args:
        mode: ``manual`` always holds for a person, ``automatic`` always deploys, ``threshold`` asks the expressions.
        expressions: The gate's expressions; all are evaluated and recorded in every mode.
        evidence: The metrics.
        combination: Whether all expressions or any of them must hold.

    Returns:
        Action, reason, and each comparison.

    Raises:
        InvalidInputError: An expression cannot be parsed.
    """
    comparisons = tuple(_compare(parse_expression(text), evidence) for text in expressions)
    if mode == "manual":
        return GateVerdict(GateAction.HOLD, "the gate is manual: a person decides", comparisons)
    if mode == "automatic":
        return GateVerdict(GateAction.DEPLOY, "the gate is automatic", comparisons)
    return _by_thresholds(comparisons, combination)


def _by_thresholds(comparisons: tuple[Comparison, ...], combination: Combination) -> GateVerdict:
    if not comparisons:
        return GateVerdict(GateAction.HOLD, "the gate has no expression, so nothing shows that this is better", ())
    passed = [comparison.passed is True for comparison in comparisons]
    if all(passed) or (combination == "any" and any(passed)):
        reasons = [comparison.reason for comparison, ok in zip(comparisons, passed, strict=True) if ok]
        return GateVerdict(GateAction.DEPLOY, "; ".join(reasons), comparisons)
    reasons = [comparison.reason for comparison, ok in zip(comparisons, passed, strict=True) if not ok]
    return GateVerdict(GateAction.HOLD, "; ".join(reasons), comparisons)


def _compare(expression: GateExpression, evidence: Evidence) -> Comparison:
    missing = _missing(expression, evidence)
    if missing:
        return Comparison(expression.text, None, missing)
    if isinstance(expression, Beats):
        return _compare_beats(expression, evidence)
    return _compare_threshold(expression, evidence)


def _missing(expression: GateExpression, evidence: Evidence) -> str | None:
    sides = {"candidate": evidence.candidate}
    if expression.needs_champion:
        sides["champion"] = evidence.champion
    for side, metrics in sides.items():
        value = metrics.get(expression.metric)
        if value is None:
            known = ", ".join(sorted(metrics)) or "none"
            return f"{expression.text}: the {side} has no metric '{expression.metric}' (it has: {known})"
        if math.isnan(value):
            return f"{expression.text}: the {side}'s '{expression.metric}' is not a number"
    return None


def _compare_threshold(expression: Threshold, evidence: Evidence) -> Comparison:
    value = evidence.candidate[expression.metric]
    bound, shown = _bound(expression, evidence)
    passed = {">=": value >= bound, ">": value > bound, "<=": value <= bound, "<": value < bound}[expression.comparator]
    outcome = "holds" if passed else "does not hold"
    return Comparison(
        expression.text, passed, f"{expression.text}: {value:.6g} {expression.comparator} {shown} {outcome}"
    )


def _bound(expression: Threshold, evidence: Evidence) -> tuple[float, str]:
    if isinstance(expression.bound, ChampionBound):
        champion = evidence.champion[expression.metric]
        value = champion * expression.bound.factor + expression.bound.offset
        return value, f"{value:.6g} (champion {champion:.6g})"
    return expression.bound, f"{expression.bound:.6g}"


def _compare_beats(expression: Beats, evidence: Evidence) -> Comparison:
    interval = evidence.improvements.get((expression.metric, expression.confidence_pct))
    confidence = f"{expression.confidence_pct:g} %"
    if interval is None:
        reason = f"{expression.text}: no paired interval of '{expression.metric}' at {confidence} was computed"
        return Comparison(expression.text, None, reason)
    lower_is_better = expression.metric.rsplit("/", 1)[-1].lower() in LOWER_IS_BETTER
    proven = -interval.high if lower_is_better else interval.low
    passed = proven >= expression.amount and (expression.amount > 0 or proven > 0)
    reason = f"{expression.text}: better by at least {proven:.6g} with {confidence} confidence, {_outcome(passed)}"
    return Comparison(expression.text, passed, reason)


def _outcome(passed: bool) -> str:
    return "holds" if passed else "does not hold"
