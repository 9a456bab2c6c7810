"""How long a step may wait: time on hold is nobody's waiting.

Recomputed at each look from when holds began and ended, as the state has it: no process has to be up while a promotion
is held, and none has to remember anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Hold(BaseModel):
    """A time in which a person kept a promotion at its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str
    began_at: AwareDatetime
    ended_at: AwareDatetime | None = Field(None, description="None: it goes on")


def seconds_on_hold(holds: Iterable[Hold], since: datetime, until: datetime) -> float:
    """The time between two moments in which a promotion was held.

    Args:
        holds: All holds, in any order; what two of them share counts once. They begin and end by the clocks of the
            machines that people gave their commands on, so one may end before it begins: it counts nothing.
        since: The first moment, with time zone.
        until: The last moment, with time zone.

    Returns:
        Seconds, between 0 and the whole time.
    """
    counted, total = since, 0.0
    for hold in sorted(holds, key=lambda each: each.began_at):
        began = max(hold.began_at, counted)
        ended = min(hold.ended_at or until, until)
        if ended > began:
            total += (ended - began).total_seconds()
            counted = ended
    return total
