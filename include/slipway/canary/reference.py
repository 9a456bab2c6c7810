"""What the champion is held to have been when it has no traffic any more: its traffic in the steps that are over.

The reference is the whole metric periods of *all* steps of the plan, in order. That is one sum which grows in time and
stops with the last step, and the bounds on the champion's rate (:mod:`slipway.canary.confidence`) hold at all of its
sizes at once, so they hold where it stops, whatever made it stop: a pass, the spec's rule, or a person who went on
early. One step alone, chosen by what it has (the last one, or an earlier one when that is empty), would be a choice
among several such sums, each with a chance of its own to be wrong, and a person who ends a step early can steer it.

Which periods count follows from the times of the shifts: the period in which a step began or ended has the weights of
two steps and is left out. The champion's rate is taken to be the same in all steps, as it is within one step.
"""

from __future__ import annotations

from collections.abc import Sequence

from slipway.canary.progress import StepProgress
from slipway.canary.window import MetricWindow, closed_window


def whole_periods(steps: Sequence[StepProgress], before: int, *, period_seconds: int) -> tuple[MetricWindow, ...]:
    """The metric periods that lie wholly within one of the steps that are over.

    Args:
        steps: The steps that have begun.
        before: Number of the present step; only those before it count.
        period_seconds: Length of a metric period.

    Returns:
        One window for each step that has such a period, in the order of time; none when all steps were too short.
    """
    windows = [
        closed_window(step.began_at, step.ended_at, period_seconds=period_seconds, settle_seconds=0)
        for step in steps
        if step.number < before and step.ended_at is not None
    ]
    return tuple(window for window in windows if window.periods)
