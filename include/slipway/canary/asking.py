"""What people are told when a step stays unsettled, and how they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipway.canary.progress import StepProgress


def how_to_answer(service: str) -> str:
    """The two answers as commands.

    Args:
        service: The service's name.
    """
    return f"`slipway approve-now {service}` lets it go on, `slipway abort {service}` takes it back"


def question_text(service: str, release_id: str, step: StepProgress, reason: str, hours: float) -> str:
    """The question in full: for the message, the task's log and its result.

    Args:
        service: The service's name.
        release_id: The release that is being promoted.
        step: The step that stays unsettled.
        reason: Why it is, as the decision says.
        hours: Time for the answer.
    """
    return (
        f"Step {step.number} of {service}, in which release {release_id} has {step.weight_pct:g} % of the traffic, is "
        f"{reason}.\n\n"
        f"Please answer: {how_to_answer(service)}; both take --reason. Without an answer within {hours:g} hours it is "
        f"taken back; `slipway hold {service}` stops that clock until `slipway resume {service}`. The traffic goes on "
        "being judged meanwhile: a pass lets the release go on, a failure takes it back."
    )
