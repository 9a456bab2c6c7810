"""Where a service stands, and what follows: pure decisions of the monitor.

A message goes out when the state *changes*, not at every run. The state remembers an alarm through windows that say
neither yes nor no; a retraining is asked for only by a window that has itself drifted, and only when the policy, the
cool-down and the budget allow it, so that drift cannot retrain in a loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slipway.drift.judge import DriftVerdict, WindowJudgement
from slipway.drift.profile import Profile, unreadable_calls
from slipway.spec.monitor import MonitorSpec

#: Share of captured calls that cannot be read beyond which the rest is not taken for the whole.
MAX_UNREADABLE = 0.05
_BUDGET = timedelta(days=30)


class Status(StrEnum):
    """Where a service stands."""

    STABLE = "STABLE"
    DRIFTED = "DRIFTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_TRAFFIC = "NO_TRAFFIC"
    UNREADABLE = "UNREADABLE"
    LEARNING = "LEARNING"


class MonitorState(BaseModel):
    """``drift/<service>/state.json``: what the last run found and what was set off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    status: Status | None = None
    since: AwareDatetime | None = Field(None, description="when this status began")
    columns: tuple[str, ...] = Field((), description="what has drifted")
    release_id: str | None = None
    looked_until: AwareDatetime | None = Field(None, description="end of the last window; the watermark")
    last_traffic: AwareDatetime | None = None
    quality: str | None = Field(None, description="the last verdict on the answers: GOOD, DEGRADED or FAILED")
    retrains: tuple[AwareDatetime, ...] = Field((), description="retrainings that drift has set off")


class Change(BaseModel):
    """What a run makes of the state."""

    model_config = ConfigDict(frozen=True)

    state: MonitorState
    changed: bool
    before: Status | None


class Decision(BaseModel):
    """Whether drift sets off a retraining, and why (not)."""

    model_config = ConfigDict(frozen=True)

    retrain: bool
    reason: str


def status_of(judgement: WindowJudgement, window: Profile) -> Status:
    """Return the status that a window gives."""
    if window.calls + window.unreadable == 0:
        return Status.NO_TRAFFIC
    if (
        unreadable_share(window.calls, window.rejected) > MAX_UNREADABLE
        and judgement.verdict is not DriftVerdict.DRIFTED
    ):
        return Status.UNREADABLE
    return Status.NO_TRAFFIC if judgement.verdict is DriftVerdict.NO_DATA else Status(judgement.verdict.value)


def unreadable_share(calls: int, rejected: Mapping[str, int]) -> float:
    """Return the share of calls that could not be read among those whose answer is no error, 0 to 1.

    Args:
        calls: Calls that could be read.
        rejected: Calls that were set aside, by reason.
    """
    unreadable = unreadable_calls(rejected)
    return unreadable / (calls + unreadable) if unreadable else 0.0


def advance(
    state: MonitorState,
    status: Status,
    columns: tuple[str, ...],
    release_id: str,
    until: datetime,
    last_traffic: datetime | None,
    monitor: MonitorSpec,
) -> Change:
    """Return the state after a run.

    Silence shorter than ``quiet_hours`` keeps the state as it was; too few rows for a verdict do not end an alarm; a
    run that is repeated after a later one changes nothing.

    Args:
        state: Before the run.
        status: What the run found.
        columns: What has drifted.
        release_id: The champion.
        until: End of the window.
        last_traffic: Time of the last call in it.
        monitor: The service's policy.
    """
    if state.looked_until is not None and state.looked_until >= until:
        return Change(state=state, changed=False, before=state.status)
    seen = max((at for at in (state.last_traffic, last_traffic) if at), default=None)
    new_champion = state.release_id != release_id
    quiet = status is Status.NO_TRAFFIC and seen is not None and until - seen < timedelta(hours=monitor.quiet_hours)
    unsure = status is Status.INCONCLUSIVE and state.status is Status.DRIFTED
    keep = state.status is not None and not new_champion and (quiet or unsure)
    now = state.status if keep and state.status else status
    found = state.columns if keep else tuple(sorted(columns))
    changed = (now, found) != (state.status, state.columns) or (new_champion and state.status is not None)
    updates = {
        "status": now,
        "columns": found,
        "since": until if changed else state.since,
        "release_id": release_id,
        "looked_until": until,
        "last_traffic": seen,
    }
    return Change(
        state=state.model_copy(update=updates), changed=_tells(state.status, now, changed), before=state.status
    )


def decide(
    found: Status, columns: tuple[str, ...], until: datetime, state: MonitorState, monitor: MonitorSpec
) -> Decision:
    """Decide whether a window's drift sets off a retraining.

    Only the window's own verdict counts, not the state's: that stays ``DRIFTED`` through windows with too few rows or
    none, in which nothing was seen to go on.

    Args:
        found: What the run found.
        columns: What has drifted in its window.
        until: End of the window.
        state: Which retrainings there were, and which window was the last.
        monitor: The service's policy.
    """
    if found is not Status.DRIFTED:
        return Decision(retrain=False, reason=f"The window is {found}, not DRIFTED.")
    if state.looked_until is not None and until < state.looked_until:
        later = f"{state.looked_until:%Y-%m-%d %H:%M} UTC"
        return Decision(retrain=False, reason=f"A later window, until {later}, was judged since.")
    if monitor.on_drift != "retrain":
        return Decision(retrain=False, reason=f"monitor.on_drift is {monitor.on_drift}.")
    recent = [at for at in state.retrains if until - at < _BUDGET]
    if recent and until - max(recent) < timedelta(hours=monitor.cooldown_hours):
        return Decision(
            retrain=False,
            reason=f"The last retraining for drift was at {max(recent):%Y-%m-%d %H:%M} UTC, less than "
            f"{monitor.cooldown_hours:g} hours ago (monitor.cooldown_hours).",
        )
    if len(recent) >= monitor.max_retrains_per_month:
        return Decision(
            retrain=False,
            reason=f"{len(recent)} retrainings for drift within 30 days, the budget (monitor.max_retrains_per_month).",
        )
    return Decision(retrain=True, reason=f"Drift in {', '.join(columns)}.")


def _tells(before: Status | None, now: Status, changed: bool) -> bool:
    """A first look that finds nothing wrong is no news."""
    return changed and not (before is None and now in {Status.STABLE, Status.INCONCLUSIVE, Status.LEARNING})
