"""Simulated canaries judged by their answers: by outcomes that arrive late, and by how the answers are distributed.

Calls are drawn one by one and counted by the same code as in a promotion, then judged at each of 25 looks. No peer
compares answers; what is shown is what our two comparisons do, and what they do not see.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from bench.canary import ALPHA, LOOKS, Array, Draws, rows_of, slipway
from bench.report import Row, publish
from slipway.canary.answer_counts import CapturedArm, count_unlike
from slipway.canary.counts import ComparisonCounts
from slipway.canary.metric_source import UNLIKE, WRONG
from slipway.canary.outcome_counts import CHALLENGER, CHAMPION, KnownAnswers, count_answers
from slipway.canary.plan import CanaryPlan
from slipway.canary.policy import UNLIKE_IGNORE_BELOW
from slipway.canary.window import MetricWindow
from slipway.spec import PromoteSpec

_DEFAULTS = PromoteSpec()
_PLAN = CanaryPlan(
    challenger="b",
    champion="a",
    weights_pct=_DEFAULTS.weights_pct,
    bake_seconds=_DEFAULTS.bake_minutes * 60,
    max_hold_seconds=_DEFAULTS.max_hold_hours * 3600,
    alpha=ALPHA,
    source="both",
    outcomes=True,
)
ALPHA_OF_WRONG = _PLAN.alpha_of(1, WRONG)
ALPHA_OF_UNLIKE = _PLAN.alpha_of(1, UNLIKE)
IGNORE_BELOW = _DEFAULTS.ignore_errors_below_pct / 100
#: Half of the outcomes become known at all; each waits for two looks on average, those of wrong answers for four.
COVERAGE = 0.5
DELAY_LOOKS = 2.0
START = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = ("false rollbacks", "caught", "median looks to rollback")
#: Draws an answer for each call, from the number of its look.
Answers = Callable[[np.random.Generator, NDArray[np.int64]], Array]

LIKE: dict[str, Answers] = {
    "normal": lambda rng, look: rng.normal(size=look.size),
    "heavy tails (t, 3)": lambda rng, look: rng.standard_t(3, size=look.size),
    "chances (beta ½, ½)": lambda rng, look: rng.beta(0.5, 0.5, size=look.size),
    "ten different numbers": lambda rng, look: rng.integers(0, 10, look.size).astype(float),
    "normal, both drift by 1 sd in 10 looks": lambda rng, look: rng.normal(size=look.size) + look / 10,
}
OTHER: dict[str, Answers] = {
    "half an sd higher": lambda rng, look: rng.normal(0.5, 1, look.size),
    "1 sd higher": lambda rng, look: rng.normal(1, 1, look.size),
    "2 sd higher": lambda rng, look: rng.normal(2, 1, look.size),
    "1.5 times the spread": lambda rng, look: rng.normal(0, 1.5, look.size),
    "twice the spread": lambda rng, look: rng.normal(0, 2, look.size),
    "always the middle": lambda rng, look: np.zeros(look.size),
}


def draw_outcomes(
    rng: np.random.Generator, runs: int, *, base_rate: float, share: float, requests: int, factor: float
) -> Draws:
    """Draw canaries whose outcomes arrive late; the challenger is wrong ``factor`` times as often as the champion."""
    window = MetricWindow(START, 1, LOOKS)
    found = []
    for _ in range(runs):
        calls = rng.binomial(requests * LOOKS, COVERAGE)
        called = rng.uniform(0, LOOKS, calls)
        arm = np.where(rng.random(calls) < share, CHALLENGER, CHAMPION)
        wrong = rng.random(calls) < base_rate * np.where(arm == CHALLENGER, factor, 1.0)
        known = called + rng.exponential(DELAY_LOOKS * np.where(wrong, 2.0, 1.0))
        start = window.start.timestamp()
        found.append(count_answers(KnownAnswers(arm, start + called, start + known, wrong), [window], window))
    return _draws(found, base_rate)


def draw_answers(
    rng: np.random.Generator, runs: int, *, share: float, requests: int, old: Answers, new: Answers
) -> Draws:
    """Draw canaries whose champion answers as ``old`` and whose challenger answers as ``new``."""
    found = []
    for _ in range(runs):
        challenger = rng.binomial(requests, share, LOOKS)
        arms = [_captured(rng, counts, how) for counts, how in ((challenger, new), (requests - challenger, old))]
        found.append(count_unlike(arms[0], arms[1], LOOKS))
    return _draws(found, 1 / 50)


def _captured(rng: np.random.Generator, counts: NDArray[np.int64], answers: Answers) -> CapturedArm:
    period = np.repeat(np.arange(LOOKS), counts)
    return CapturedArm(period, np.ones(len(period), dtype=bool), answers(rng, period))


def _draws(found: Sequence[ComparisonCounts], base_rate: float) -> Draws:
    """Counts of each run, a look a period; what a run lacks at its begin counts nothing."""
    stacked = np.zeros((4, len(found), LOOKS))
    for run, counts in enumerate(found):
        arrays = counts.arrays()
        stacked[:, run, LOOKS - len(arrays[0]) :] = np.stack(arrays)
    return Draws(base_rate, *stacked)


def measure(runs: int) -> list[Row]:
    """Simulate all cases.

    Args:
        runs: Canaries for each case.

    Returns:
        Rows of case, system, metric, value and unit.
    """
    rng = np.random.default_rng(20261122)
    rows: list[Row] = []
    for base_rate in (0.1, 0.3):
        for share, requests in ((0.05, 4000), (0.5, 200)):
            for factor in (1.0, 1.25, 1.5, 2.0):
                draws = draw_outcomes(rng, runs, base_rate=base_rate, share=share, requests=requests, factor=factor)
                case = f"outcomes: {base_rate:.0%} wrong, share {share:.0%}, {requests} requests a look, {factor:g}x"
                found = slipway(draws, alpha=ALPHA_OF_WRONG, ignore_below=IGNORE_BELOW)
                rows += rows_of(case, "slipway", found, factor, draws)
    for share, requests in ((0.05, 4000), (0.5, 200)):
        where = f"share {share:.0%}, {requests} requests a look"
        for name, answers in LIKE.items():
            draws = draw_answers(rng, runs, share=share, requests=requests, old=answers, new=answers)
            rows += _unlike_rows(f"answers alike: {name}, {where}", draws, healthy=True)
        for name, answers in OTHER.items():
            draws = draw_answers(rng, runs, share=share, requests=requests, old=LIKE["normal"], new=answers)
            rows += _unlike_rows(f"answers {name}, {where}", draws, healthy=False)
    return [row for row in rows if row.metric in SHOWN]


def _unlike_rows(case: str, draws: Draws, *, healthy: bool) -> list[Row]:
    found = slipway(draws, alpha=ALPHA_OF_UNLIKE, ignore_below=UNLIKE_IGNORE_BELOW)
    return rows_of(case, "slipway", found, 1.0 if healthy else 2.0, draws)


def notes(runs: int) -> tuple[str, ...]:
    """What the table does not say by itself."""
    return (
        f"Simulated: {runs} canaries a case, one step with 25 looks. Alpha of the promotion is 1 %; of it `wrong` has "
        f"{ALPHA_OF_WRONG:.2%} in the first step and `unlike` {ALPHA_OF_UNLIKE:.2%} (sources `both`, outcomes judged). "
        f"Outcomes of {COVERAGE:.0%} of the calls arrive, after {DELAY_LOOKS:g} looks on average, those of wrong "
        "answers after twice as long. A median of 25 looks means that most were not caught within the step.",
        "**What is not seen.** A quarter more wrong answers is the smallest change that is looked for, and takes many "
        "outcomes. `unlike` counts answers outside the range of 98 % of the champion's, and up to 5 % of them are "
        "never held against a release: half a standard deviation passes by design, and so does a release that always "
        "gives the same ordinary answer. Outcomes tell that.",
    )


def main() -> None:
    """Run the simulation and publish its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    publish("canary_answers", measure(runs), notes=notes(runs))


if __name__ == "__main__":
    main()
