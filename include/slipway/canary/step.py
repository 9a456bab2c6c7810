"""One step of a canary: what to do after a look."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from slipway.canary.comparison import Verdict
from slipway.canary.judge import Look

OnInconclusive = Literal["ask", "roll_back", "promote"]


class Action(StrEnum):
    """What the promotion does next."""

    WAIT = "wait"
    ADVANCE = "advance"
    ROLL_BACK = "roll_back"
    ASK = "ask"


@dataclass(frozen=True)
class StepClock:
    """How long a step has been on, and how long it may be.

    Args:
        elapsed_seconds: Time since the weights were in force.
        bake_seconds: A pass counts only after this long.
        max_hold_seconds: Further time that a step may stay unsettled.
        on_hold_seconds: Part of the elapsed time in which a person held the promotion; a step may wait longer by it.
        asked_seconds: How long people have been asked, time on hold left out; None when nobody was asked.
        answer_seconds: How long they have for the answer.
    """

    elapsed_seconds: float
    bake_seconds: float
    max_hold_seconds: float
    on_hold_seconds: float = 0.0
    asked_seconds: float | None = None
    answer_seconds: float = 0.0

    @property
    def baked(self) -> bool:
        """Whether the planned time is over."""
        return self.elapsed_seconds >= self.bake_seconds

    @property
    def hold_expired(self) -> bool:
        """Whether the step has been unsettled for as long as it may."""
        return self.elapsed_seconds - self.on_hold_seconds >= self.bake_seconds + self.max_hold_seconds

    @property
    def unanswered(self) -> bool:
        """Whether people were asked and their time is over."""
        return self.asked_seconds is not None and self.asked_seconds >= self.answer_seconds

    @property
    def limits_passed(self) -> tuple[bool, ...]:
        """Which limits are over; each may decide without a new period."""
        return self.baked, self.hold_expired, self.unanswered


@dataclass(frozen=True)
class StepFlags:
    """What people asked for; each names who asked, and why if that was said; or None."""

    hold: str | None = None
    abort: str | None = None
    approve_now: str | None = None


@dataclass(frozen=True)
class StepDecision:
    """The next action and why."""

    action: Action
    reason: str


def decide(look: Look, clock: StepClock, flags: StepFlags, on_inconclusive: OnInconclusive) -> StepDecision:
    """Decide what follows a look.

    Harm goes first: an abort or a failure rolls back whatever else is asked. A hold stops the clock's decisions but not
    those two. "Approve now" advances over an unsettled look. Without data no policy promotes: a person is asked. A
    question that nobody answers in time is answered by going back.

    Args:
        look: The judge's latest look.
        clock: Time in this step.
        flags: What people asked for.
        on_inconclusive: What follows when the step stays unsettled too long.

    Returns:
        Action and reason.
    """
    urgent = _urgent(look, flags)
    if urgent:
        return urgent
    if flags.hold:
        return StepDecision(Action.WAIT, f"held by {flags.hold}")
    if flags.approve_now:
        return StepDecision(Action.ADVANCE, f"approved at verdict {look.verdict} by {flags.approve_now}")
    if look.verdict is Verdict.PASS:
        if clock.baked:
            return StepDecision(Action.ADVANCE, "; ".join(look.reasons))
        return StepDecision(Action.WAIT, "passed; waiting for the planned time to end")
    if clock.hold_expired:
        return _expired(look, clock, on_inconclusive)
    return StepDecision(Action.WAIT, "; ".join(look.reasons) or f"verdict {look.verdict}")


def _urgent(look: Look, flags: StepFlags) -> StepDecision | None:
    if flags.abort:
        return StepDecision(Action.ROLL_BACK, f"aborted by {flags.abort}")
    if look.verdict is Verdict.FAIL:
        return StepDecision(Action.ROLL_BACK, "; ".join(look.reasons))
    return None


def _expired(look: Look, clock: StepClock, on_inconclusive: OnInconclusive) -> StepDecision:
    why = f"still {look.verdict} at the end of the hold: " + "; ".join(look.reasons)
    if on_inconclusive == "roll_back":
        return StepDecision(Action.ROLL_BACK, why)
    if on_inconclusive == "promote" and look.verdict is not Verdict.NO_DATA:
        return StepDecision(Action.ADVANCE, f"{why}; the spec promotes then")
    if clock.unanswered:
        return StepDecision(Action.ROLL_BACK, f"nobody answered within {clock.answer_seconds / 3600:g} h; {why}")
    return StepDecision(Action.ASK, why)
