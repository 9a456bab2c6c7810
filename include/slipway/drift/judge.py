"""From profiles to verdicts.

Each column's distance and rates are tested against their tolerances (:mod:`slipway.drift.significance`). *Over
columns* Benjamini & Hochberg (J. R. Stat. Soc. B 57(1), 1995) control the false discovery rate; when nothing drifts
that is the chance of any alarm. *Over runs* the budget of false alarms a year is divided by the runs a year.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from slipway.drift.baseline import Baseline, Spread
from slipway.drift.effect import EFFECTS, effect_of
from slipway.drift.profile import CategoryProfile, ColumnProfile, NumericProfile, Profile
from slipway.drift.significance import ChangeTest, DistanceTest, RateTest, baseline_needed, rows_needed


class DriftVerdict(StrEnum):
    """What a window says of a column, or of all."""

    DRIFTED = "DRIFTED"
    STABLE = "STABLE"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"


@dataclass(frozen=True)
class DriftPolicy:
    """What counts as drift.

    Args:
        tolerance: Distance that does not matter, 0 to 1.
        rate_tolerance: Change of the share of missing, new or unreadable values that does not matter, 0 to 1.
        runs_per_year: How often windows are judged.
        false_alarms_per_year: Runs that may raise a false alarm, on average.
    """

    tolerance: float = 0.1
    rate_tolerance: float = 0.05
    runs_per_year: float = 8766.0
    false_alarms_per_year: float = 1.0

    @property
    def alpha(self) -> float:
        """Chance that one run on unchanged data raises an alarm."""
        return min(0.5, self.false_alarms_per_year / self.runs_per_year)


@dataclass(frozen=True)
class Finding:
    """One test of one column.

    Args:
        column: The column.
        statistic: Name of the distance or rate.
        value: What was found, 0 to 1.
        tolerance: What does not matter.
        lower_bound: What the change is at least, at the run's alpha for this test alone.
        p_value: Of "at most the tolerance".
        p_adjusted: The same, corrected over all tests of the run.
        rows: Rows that the test saw in the window.
        rows_needed: Rows that a window needs for a verdict, None when no number suffices.
        verdict: The outcome.
        baseline_rows: Rows that the test saw in the baseline.
        baseline_needed: Rows that a baseline needs before any window gives a verdict; None when it has them.
    """

    column: str
    statistic: str
    value: float
    tolerance: float
    lower_bound: float
    p_value: float
    p_adjusted: float
    rows: int
    rows_needed: int | None
    verdict: DriftVerdict
    baseline_rows: int
    baseline_needed: int | None

    @property
    def judged(self) -> bool:
        """Whether there is a verdict, or would be with more rows in the window."""
        return self.verdict is not DriftVerdict.INCONCLUSIVE or self.rows_needed is not None


@dataclass(frozen=True)
class WindowJudgement:
    """All findings of a window, and the verdict over all."""

    verdict: DriftVerdict
    rows: int
    alpha: float
    findings: tuple[Finding, ...]

    @property
    def drifted(self) -> tuple[Finding, ...]:
        """The findings that are drift, largest excess over the tolerance first."""
        found = [finding for finding in self.findings if finding.verdict is DriftVerdict.DRIFTED]
        return tuple(sorted(found, key=lambda finding: finding.tolerance - finding.value))

    @property
    def unjudged(self) -> tuple[Finding, ...]:
        """The findings that no window can decide, because the baseline has too few rows for their tests."""
        return tuple(finding for finding in self.findings if finding.baseline_needed is not None)


def judge(baseline: Baseline, window: Profile, policy: DriftPolicy, blind: Collection[str] = ()) -> WindowJudgement:
    """Judge one window.

    Args:
        baseline: What the model was trained on.
        window: The window's profile over the baseline's bins.
        policy: What counts as drift.
        blind: Columns whose bins hide changes (:attr:`slipway.drift.reference.Reference.blind`): drift that they show
            nonetheless counts, their distance is never called stable.

    Returns:
        Findings for every column and rate, and the verdict over all.
    """
    if window.rows == 0:
        return WindowJudgement(DriftVerdict.NO_DATA, 0, policy.alpha, ())
    tests = list(_tests(baseline, window, policy))
    adjusted = benjamini_hochberg([test.p_value for _, test in tests])
    found = [_finding(column, test, p, policy.alpha) for (column, test), p in zip(tests, adjusted, strict=True)]
    findings = tuple(_unseen(each) if each.column in blind else each for each in found)
    return WindowJudgement(_overall(findings), window.rows, policy.alpha, findings)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values so that rejecting those at or below *q* keeps the false discovery rate at *q*.

    Args:
        p_values: One for each test, in any order.

    Returns:
        Adjusted values in the same order.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    adjusted = [1.0] * len(p_values)
    smallest = 1.0
    for position, index in enumerate(order):
        rank = len(p_values) - position
        smallest = min(smallest, max(p_values[index], p_values[index] * len(p_values) / rank))
        adjusted[index] = smallest
    return adjusted


def _tests(baseline: Baseline, window: Profile, policy: DriftPolicy) -> Iterator[tuple[str, ChangeTest]]:
    for name, before in baseline.profile.columns.items():
        after = window.columns[name]
        effect = effect_of(before, after)
        if effect.window_rows and effect.baseline_rows:
            yield name, DistanceTest(effect, policy.tolerance, baseline.spreads.get(name, Spread()))
        for statistic, (count_before, count_after) in _rates(before, after).items():
            if before.rows and after.rows:
                tolerance = policy.rate_tolerance
                yield name, RateTest(statistic, tolerance, count_before, before.rows, count_after, after.rows)


def _rates(before: ColumnProfile, after: ColumnProfile) -> dict[str, tuple[int, int]]:
    rates = {
        "missing_rate": (before.missing, after.missing),
        "mismatch_rate": (before.mismatched, after.mismatched),
    }
    if isinstance(before, NumericProfile) and isinstance(after, NumericProfile):
        rates["infinite_rate"] = (before.infinite, after.infinite)
    if isinstance(before, CategoryProfile) and isinstance(after, CategoryProfile):
        rates["new_category_rate"] = (before.new_rows, after.new_rows)
    return rates


def _finding(column: str, test: ChangeTest, p_adjusted: float, alpha: float) -> Finding:
    if p_adjusted <= alpha:
        verdict = DriftVerdict.DRIFTED
    else:
        verdict = DriftVerdict.STABLE if test.tells(alpha, test.rows) else DriftVerdict.INCONCLUSIVE
    needed = rows_needed(test, alpha)
    return Finding(
        column=column,
        statistic=test.statistic,
        value=test.value,
        tolerance=test.tolerance,
        lower_bound=test.lower_bound(alpha),
        p_value=test.p_value,
        p_adjusted=p_adjusted,
        rows=test.rows,
        rows_needed=needed,
        verdict=verdict,
        baseline_rows=test.baseline_rows,
        baseline_needed=baseline_needed(test, alpha) if needed is None else None,
    )


def _unseen(finding: Finding) -> Finding:
    """What can be said of a column whose bins hide changes: nothing that more rows would alter."""
    if finding.statistic not in EFFECTS or finding.verdict is DriftVerdict.DRIFTED:
        return finding
    return replace(finding, verdict=DriftVerdict.INCONCLUSIVE, rows_needed=None, baseline_needed=None)


def _overall(findings: Sequence[Finding]) -> DriftVerdict:
    """The verdict over all: what no window can decide has no say, unless there is no distance that one can."""
    if not findings:
        return DriftVerdict.NO_DATA
    found = {finding.verdict for finding in findings if finding.judged}
    for verdict in (DriftVerdict.DRIFTED, DriftVerdict.INCONCLUSIVE):
        if verdict in found:
            return verdict
    distances = [finding.judged for finding in findings if finding.statistic in EFFECTS]
    return DriftVerdict.INCONCLUSIVE if distances and not any(distances) else DriftVerdict.STABLE
