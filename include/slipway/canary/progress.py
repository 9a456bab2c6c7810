"""How far a canary has come: part of the endpoint's state, so that any task can take over from any other."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slipway.canary.comparison import Verdict


class Question(BaseModel):
    """What people were asked about a step that stays unsettled: go on, or go back?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked_at: AwareDatetime
    hours: float = Field(gt=0, description="they have for the answer; time on hold is not counted")


class StepProgress(BaseModel):
    """One step of a canary that has begun.

    A step ends with ``ended_at``: by a pass, by a person, or by the spec's rule for unsettled steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = Field(ge=1, description="from 1, in the order of the plan")
    weight_pct: float = Field(gt=0, le=100)
    began_at: AwareDatetime = Field(description="when its weights were in force")
    verdict: Verdict = Field(Verdict.NO_DATA, description="of the last look")
    looks: int = Field(0, ge=0)
    said: str = Field("", description="counts, rates and requests still needed, as of the last look")
    shown: tuple[str, ...] = Field((), description="the last look, a line for each comparison")
    failed_because: str | None = Field(None, description="latched: a failure stays one")
    question: Question | None = Field(None, description="None: nobody was asked")
    ended_at: AwareDatetime | None = None
    approved_by: str | None = Field(None, description="who let it go on without a pass")

    @property
    def may_go_on(self) -> bool:
        """Whether the promotion may leave this step towards more traffic."""
        passed = self.verdict is Verdict.PASS or self.approved_by is not None
        return self.ended_at is not None and self.failed_because is None and passed


def with_step(steps: Sequence[StepProgress], step: StepProgress) -> tuple[StepProgress, ...]:
    """The steps with one of them added or replaced, in order.

    Args:
        steps: The steps that have begun.
        step: Its newest form.

    Returns:
        All steps, by number.
    """
    others = [other for other in steps if other.number != step.number]
    return tuple(sorted([*others, step], key=lambda each: each.number))


def find_step(steps: Sequence[StepProgress], number: int) -> StepProgress | None:
    """The step of that number, or None when it has not begun."""
    return next((step for step in steps if step.number == number), None)
