"""What people may ask of a promotion that is under way, and who sees it when. Pure.

An abort is about any promotion. A hold and "approve now" are about the steps of a canary: where there is none that they
could be about, nobody would ever read them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.canary.progress import find_step
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    from slipway.state import Promotion
    from slipway.transition import FlagName


def refuse_idle(promotion: Promotion, name: FlagName, service: str) -> None:
    """Refuse a wish that nothing of the promotion would obey.

    Args:
        promotion: What is under way.
        name: The wish.
        service: The service's name.

    Raises:
        InvalidInputError: The promotion has no step that it is about.
    """
    release = f"Release {promotion.release_id} of {service}"
    if name == "hold" and not _has_weights_to_come(promotion):
        why = "all its steps are over" if promotion.plan else f"strategy {promotion.strategy} has no steps"
        raise InvalidInputError(
            f"{release} has no weights to be held at: {why}. `slipway abort {service}` takes it back, as long as it is "
            "not the champion."
        )
    if name == "approve_now" and not _is_judged(promotion):
        raise InvalidInputError(
            f"{release} has no step that is judged just now, so there is nothing to approve. A gate is answered with "
            f"`slipway approve`; see `slipway status {service}`."
        )


def when_seen(promotion: Promotion, name: FlagName, service: str) -> str:
    """Say who sees a wish, and when.

    Args:
        promotion: What is under way.
        name: The wish.
        service: The service's name.
    """
    if _is_judged(promotion):
        return "the judge sees it within seconds"
    if name == "hold":
        return f"no step begins until `slipway resume {service}`"
    return "no step is judged just now: the guard of a gate sees it within seconds, any other task when it is done"


def _is_judged(promotion: Promotion) -> bool:
    return any(step.ended_at is None for step in promotion.steps)


def _has_weights_to_come(promotion: Promotion) -> bool:
    plan = promotion.plan
    last = find_step(promotion.steps, len(plan.weights_pct) + 1) if plan else None
    return plan is not None and (last is None or last.ended_at is None)
