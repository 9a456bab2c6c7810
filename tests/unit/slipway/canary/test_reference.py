"""What of the champion is left to compare with when it has no traffic any more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from slipway.canary.comparison import JudgePolicy, Verdict
from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts
from slipway.canary.evaluation import StepRules, evaluate
from slipway.canary.metric_source import ReferenceMetricSource
from slipway.canary.progress import StepProgress
from slipway.canary.reference import whole_periods
from slipway.canary.window import MetricWindow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = StepRules({"error": JudgePolicy(alpha=0.01)}, 600, 3600, "ask", 60, 0)


def steps(*seconds: float | None) -> list[StepProgress]:
    """Steps that begin one second after the full hour and last so long; None: not over."""
    return [
        StepProgress(
            number=number,
            weight_pct=number,
            began_at=NOON + timedelta(hours=number, seconds=1),
            ended_at=None if length is None else NOON + timedelta(hours=number, seconds=1 + length),
        )
        for number, length in enumerate(seconds, start=1)
    ]


class EachMinute:
    """200 requests of each arm a minute, so many of the challenger's bad; the champion's end with the steps."""

    def __init__(self, challenger_bad: int, *, bake: datetime) -> None:
        self._bad = challenger_bad
        self._bake = bake

    def describe(self) -> str:
        return "each minute"

    def counts(self, window: MetricWindow) -> Mapping[str, ComparisonCounts]:
        champion = ArmCounts(200 if window.end <= self._bake else 0, 0)
        period = PeriodCounts(ArmCounts(200, self._bad), champion)
        return {"error": ComparisonCounts((period,) * window.periods)}


def test_all_steps_count_and_each_without_the_periods_of_its_shifts() -> None:
    windows = whole_periods(steps(600, 40, 100, 600), 4, period_seconds=60)
    assert [(each.start, each.periods) for each in windows] == [(NOON + timedelta(hours=1, minutes=1), 9)]
    windows = whole_periods(steps(600, 120, None), 3, period_seconds=60)
    assert [(each.start.hour, each.periods) for each in windows] == [(13, 9), (14, 1)]


def bake_after(*seconds: float, challenger_bad: int) -> tuple[Verdict, str]:
    """The look at the end of ten minutes at 100 %, after steps of these lengths."""
    began = NOON + timedelta(hours=len(seconds) + 1)
    windows = whole_periods(steps(*seconds), len(seconds) + 1, period_seconds=60)
    source = ReferenceMetricSource(EachMinute(challenger_bad, bake=began), windows)
    bake = StepProgress(number=len(seconds) + 1, weight_pct=100, began_at=began)
    look = evaluate(bake, RULES, source, began + timedelta(minutes=10)).look
    return look.verdict, "; ".join(look.reasons)


@pytest.mark.parametrize("last_seconds", [40, 100, 600])
def test_a_bad_release_fails_at_all_traffic_also_when_the_last_step_was_let_go_early(last_seconds: float) -> None:
    verdict, why = bake_after(600, last_seconds, challenger_bad=100)
    assert verdict is Verdict.FAIL
    assert "the challenger is worse: 50.000% of 2000" in why


@pytest.mark.parametrize("last_seconds", [40, 600])
def test_a_good_release_passes_at_all_traffic(last_seconds: float) -> None:
    assert bake_after(600, last_seconds, challenger_bad=0)[0] is Verdict.PASS


def test_nothing_of_the_champion_is_said_to_stay_so() -> None:
    verdict, why = bake_after(40, 50, challenger_bad=100)
    assert verdict is Verdict.NO_DATA
    assert "the champion had no requests in a whole metric period of the steps before, and gets none any more" in why
    assert "50.000% of 2000 bad" in why
    assert "yet" not in why


def test_a_person_who_ends_the_last_step_early_does_not_make_false_rollbacks_more_frequent() -> None:
    """The worst case: the steps are ended when the champion looks best, over ten looks at each."""
    alpha, rate, runs = 0.05, 0.05, 400
    chance, policy = np.random.default_rng(7), JudgePolicy(alpha=0.05, ignore_below=0.001)
    failed = 0
    for _ in range(runs):
        bad = np.cumsum(chance.binomial(200, rate, size=10))
        best = int(np.argmin(bad / (200 * np.arange(1, 11)))) + 1
        champion = ArmCounts(200 * best, int(bad[best - 1]))
        challenger_bad = np.cumsum(chance.binomial(200, rate, size=20))
        failed += any(
            _fails(ArmCounts(200 * look, int(challenger_bad[look - 1])), champion, policy) for look in range(1, 21)
        )
    assert failed / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)


def _fails(challenger: ArmCounts, champion: ArmCounts, policy: JudgePolicy) -> bool:
    from slipway.canary.comparison import _log_e_value_worse_than_before

    counts = ComparisonCounts((PeriodCounts(challenger, champion),), together=False)
    return _log_e_value_worse_than_before(counts, policy) >= math.log(1 / policy.alpha)
