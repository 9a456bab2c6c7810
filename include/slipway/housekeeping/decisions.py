"""What housekeeping does with what it finds. Pure.

Nothing without Slipway's tags is ever chosen, nothing that anything refers to, nothing young, nothing of a service that
is in the middle of a change or whose spec cannot be read, and nothing of a service that this installation never had:
another one in the same account has states of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from slipway.endpoints.previous import kept_until
from slipway.housekeeping.inventory import SERVICE_TAG, STAGE_TAG, Inventory, Resource
from slipway.state import Approval, EndpointState

#: What is younger may belong to a run that has not recorded it yet.
MIN_AGE = timedelta(hours=24)
#: An approved release that has waited so long without a promotion under way is told to people.
TELL_AFTER = timedelta(hours=1)
#: A promotion without any lease for so long has no run any more.
LOST_AFTER = timedelta(hours=1)

#: Holder of housekeeping's leases: the same in each run, so that the next one goes on where one was killed.
HOLDER = "slipway.housekeeping"

_PROD = "-prod"


@dataclass(frozen=True)
class Leftover:
    """A resource that nothing needs, and why."""

    resource: Resource
    why: str


def is_lost(state: EndpointState, now: datetime) -> bool:
    """Tell whether a promotion has no run any more: its lease ran out, though every task and look prolongs it.

    One that housekeeping began to roll back, and was killed over, is still lost.

    Args:
        state: the endpoint's state.
        now: the present.
    """
    if state.promotion is None:
        return False
    if state.lease is None:
        return now - state.promotion.begun_at >= LOST_AFTER
    return state.lease.holder == HOLDER or state.lease.is_over(now)


def judge_approval(state: EndpointState, now: datetime, valid_hours: float) -> Literal["fresh", "tell", "lapse"]:
    """Decide what becomes of an approved release that waits.

    One that waits behind a promotion under way is fresh.

    Args:
        state: the production endpoint's state.
        now: the present.
        valid_hours: the spec's ``approval.valid_hours``.
    """
    approval: Approval | None = state.approved
    if approval is None or state.promotion is not None:
        return "fresh"
    age = now - approval.at
    if age >= timedelta(hours=valid_hours):
        return "lapse"
    return "tell" if age >= TELL_AFTER else "fresh"


def is_idle(endpoint: Resource, invocations: float, now: datetime, keep_hours: float) -> bool:
    """Tell whether a dev endpoint may go.

    Args:
        endpoint: the endpoint.
        invocations: requests that it got within the last ``keep_hours``.
        now: the present.
        keep_hours: the spec's ``stages.dev.keep_hours``.
    """
    ours = endpoint.service is not None and endpoint.tags.get(STAGE_TAG) == "dev"
    rests = endpoint.status in {"InService", "Failed", "OutOfService"}
    return ours and rests and invocations == 0 and now - endpoint.touched_at >= timedelta(hours=keep_hours)


def busy_services(states: Iterable[EndpointState], now: datetime) -> set[str]:
    """Name the services with a promotion, or any other change, under way."""
    return {
        state.endpoint.rpartition("-")[0]
        for state in states
        if state.promotion is not None or (state.lease is not None and not state.lease.is_over(now))
    }


def find_leftovers(
    inventory: Inventory,
    states: Mapping[str, EndpointState],
    keep_days: Mapping[str, float],
    *,
    default_keep_days: float,
    protected: Collection[str],
    now: datetime,
) -> list[Leftover]:
    """Choose the endpoint configs and models that nothing needs; configs first, since they refer to models.

    Args:
        inventory: what there is.
        states: all endpoints' states by name.
        keep_days: ``promote.keep_previous_days`` of each service with a spec.
        default_keep_days: the same for services whose spec is gone.
        protected: services that are left alone: busy ones, and those whose spec cannot be read.
        now: the present.
    """
    used = {name for endpoint in inventory.endpoints for name in endpoint.refers_to}
    expired: set[str] = set()
    for state in states.values():
        kept, over = _configs_of(state, keep_days.get(state.endpoint.removesuffix(_PROD), default_keep_days), now)
        used |= kept
        expired |= over
    known = {*keep_days, *(state.endpoint.rpartition("-")[0] for state in states.values())} - {*protected}
    old = [each for each in inventory.configs if _may_go(each, known, now) and each.name not in used]
    going = {each.name for each in old}
    used_models = {name for each in inventory.configs if each.name not in going for name in each.refers_to}
    models = [each for each in inventory.models if _may_go(each, known, now) and each.name not in used_models]
    leftovers = [
        Leftover(each, "the champion of before, beyond its time" if each.name in expired else "no endpoint uses it")
        for each in old
    ]
    return [*leftovers, *(Leftover(each, "no endpoint config uses it") for each in models)]


def _configs_of(state: EndpointState, keep_days: float, now: datetime) -> tuple[set[str], set[str]]:
    """Configs that the state still needs, and those that it needed for a time that is up."""
    kept = {state.champion.config_name} if state.champion else set()
    if state.promotion and state.promotion.recorded:
        kept.add(state.promotion.recorded.config_name)
    if state.previous is None:
        return kept, set()
    previous = {state.previous.config_name} - kept
    if state.champion and now >= kept_until(state.champion, keep_days):
        return kept, previous
    return kept | previous, set()


def _may_go(resource: Resource, services: Collection[str], now: datetime) -> bool:
    return resource.tags.get(SERVICE_TAG) in services and now - resource.touched_at >= MIN_AGE
