"""The right to change an endpoint: one holder at a time, with an end.

Pure: who may have the lease is decided here, `slipway.state` writes it. A lease that is held belongs to a run, not
to a process, so a task that was killed takes its run's lease again; a run that is gone loses it at the end of its
time. Times are those of the machines that take leases: their clocks have to agree within the length of a lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slipway.errors import LeaseHeldError


class Lease(BaseModel):
    """Who may change the endpoint, what for, and until when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    holder: str = Field(min_length=1, description="DAG and run that hold it")
    purpose: str = Field(description="what it was taken for, in words")
    taken_at: AwareDatetime
    expires_at: AwareDatetime

    def is_over(self, now: datetime) -> bool:
        """Tell whether the time is up, so that anybody may take it."""
        return now >= self.expires_at


@dataclass(frozen=True)
class Granted:
    """A lease that was taken.

    Args:
        lease: the lease as it stands now.
        taken_from: the lease of another holder that had run out, or None: say so where people read it.
    """

    lease: Lease
    taken_from: Lease | None = None


def grant(current: Lease | None, *, holder: str, purpose: str, now: datetime, seconds: float) -> Granted:
    """Decide who has the lease after ``holder`` asks for it.

    The holder itself gets it again: unchanged while more than half of ``seconds`` is left, so that asking often
    does not write often, else prolonged.

    Args:
        current: the lease as it stands, or None.
        holder: who asks.
        purpose: what for, in words.
        now: the present.
        seconds: how long the lease shall last from now.

    Raises:
        LeaseHeldError: another holder has it and its time is not up.
    """
    until = now + timedelta(seconds=seconds)
    if current is not None and current.holder == holder:
        if current.expires_at - now > timedelta(seconds=seconds / 2):
            return Granted(current)
        return Granted(current.model_copy(update={"expires_at": until, "purpose": purpose}))
    if current is not None and not current.is_over(now):
        raise LeaseHeldError(
            f"{current.holder} may change this endpoint until {current.expires_at:%Y-%m-%d %H:%M:%S %Z} "
            f"({current.purpose}); {holder} has to wait. Let that run end or abort it."
        )
    return Granted(Lease(holder=holder, purpose=purpose, taken_at=now, expires_at=until), taken_from=current)


def require(current: Lease | None, holder: str) -> None:
    """Refuse a change by somebody who does not hold the lease.

    A lease whose time is up still counts while nobody else has taken it: the conditional write of the state makes
    sure that nobody does so in between.

    Raises:
        LeaseHeldError: nobody or another holder has it.
    """
    if current is None:
        raise LeaseHeldError(f"{holder} does not hold the lease of this endpoint any more: it was given back.")
    if current.holder != holder:
        raise LeaseHeldError(
            f"{holder} lost the lease of this endpoint to {current.holder} ({current.purpose}) "
            f"at {current.taken_at:%Y-%m-%d %H:%M:%S %Z}. It must not change the endpoint any more."
        )
