"""How outcomes become counts of two arms, so that the test stays valid at every look.

Outcomes come late, so the answers of all steps so far count, not those of the present step alone. They are counted
apart by step: within one the weights stay, so chance alone says which arm a call meets, and an hour that is hard to
predict is hard for both arms alike.

Within a step they are counted in the period in which they became known: both the answer and its outcome were there. A
closed period then holds the same rows at all later looks, and what becomes known is a factor of its own, which is what
keeps the e-value a martingale. Put into the period of the call they would change factors that were seen before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts
from slipway.canary.window import MetricWindow

CHALLENGER, CHAMPION = 0, 1
NOTHING_KNOWN = ComparisonCounts((), of_step=False)


@dataclass(frozen=True)
class KnownAnswers:
    """Answers whose outcomes are known, one entry each.

    Args:
        arm: :data:`CHALLENGER` or :data:`CHAMPION`.
        called: When it was given, in seconds since 1970.
        known: When its outcome arrived, in seconds since 1970.
        wrong: Whether it was wrong.
    """

    arm: NDArray[np.int64]
    called: NDArray[np.float64]
    known: NDArray[np.float64]
    wrong: NDArray[np.bool_]


def count_answers(answers: KnownAnswers, steps: Sequence[MetricWindow], window: MetricWindow) -> ComparisonCounts:
    """Count answers by step and by the period in which their outcome became known.

    Args:
        answers: Of both arms.
        steps: Whole periods in which both arms were served at unchanging weights; they do not overlap.
        window: The periods that are closed; what became known after their end counts at a later look.

    Returns:
        An entry for each period of each step in which something became known, in the order of time.
    """
    if window.periods == 0:
        return NOTHING_KNOWN
    step = np.full(len(answers.called), -1, dtype=np.int64)
    for number, each in enumerate(steps):
        step[(answers.called >= each.start.timestamp()) & (answers.called < each.end.timestamp())] = number
    known = np.maximum(answers.known, answers.called)  # clocks may disagree
    counted = (step >= 0) & (known < window.end.timestamp())
    period = np.floor(known / window.period_seconds).astype(np.int64)
    groups, index = np.unique((period * max(len(steps), 1) + step)[counted], return_inverse=True)
    cell = index * 2 + answers.arm[counted]
    requests = np.bincount(cell, minlength=2 * len(groups)).reshape(-1, 2)
    bad = np.bincount(cell[answers.wrong[counted]], minlength=2 * len(groups)).reshape(-1, 2)
    periods = tuple(_pair(*both) for both in zip(requests.tolist(), bad.tolist(), strict=True))
    return ComparisonCounts(periods, of_step=False)


def _pair(requests: Sequence[int], bad: Sequence[int]) -> PeriodCounts:
    challenger, champion = (ArmCounts(requests[arm], bad[arm]) for arm in (CHALLENGER, CHAMPION))
    return PeriodCounts(challenger, champion)
