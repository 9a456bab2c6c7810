"""Old champions that a promotion left on the endpoint: whether there is one, and what is missing. Pure.

A promotion ends with serving its champion alone. When that last task fails, or its run is ended in the warm time,
nothing is rolled back: the champion is recorded. But the old one's instances go on running, and nothing scales.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway.endpoints.outcome import Description
from slipway.endpoints.traffic import instances_of, weights_of
from slipway.housekeeping.decisions import LOST_AFTER
from slipway.state import EndpointState, Serving

#: Holder of the leases under which old champions leave. Not that of the rollbacks: both may be at work side by side.
RETIRER = "slipway.housekeeping.old_champions"

#: See `slipway.endpoints.names`: what somebody else made has another name.
_OUR_CONFIG = re.compile(r".+-prod-[0-9a-f]{10}")


@dataclass(frozen=True)
class Retirement:
    """What a promotion left to do.

    Args:
        variant: the champion's variant, which has all traffic.
        instances: how many instances it has now.
        leaving: variants beside it; none when only the notes and the scaling are missing.
    """

    variant: str
    instances: int
    leaving: tuple[str, ...]


def is_overdue(state: EndpointState, keep_warm_minutes: float, now: datetime) -> bool:
    """Tell whether the champion should have had the endpoint for itself for an hour.

    Args:
        state: the production endpoint's state.
        keep_warm_minutes: the spec's ``promote.keep_warm_minutes``.
        now: the present.
    """
    if state.champion is None or state.promotion is not None:
        return False
    if state.lease and state.lease.holder != RETIRER and not state.lease.is_over(now):
        return False
    return now >= state.champion.since + timedelta(minutes=keep_warm_minutes) + LOST_AFTER


def find_retirement(champion: Serving, found: Description | None) -> Retirement | None:
    """Find out what is left to do on an endpoint that is overdue.

    Args:
        champion: the champion as the state has it.
        found: DescribeEndpoint's answer.

    Returns:
        None when nothing is, or when the endpoint is not as a promotion leaves it: it changes just now, the traffic is
        elsewhere, or somebody else made its config.
    """
    if found is None or found["EndpointStatus"] != "InService":
        return None
    serving = [variant for variant, weight in weights_of(found).items() if weight > 0]
    if serving != [champion.release_id]:
        return None
    present, config = instances_of(found), str(found["EndpointConfigName"])
    leaving = tuple(sorted(set(present) - set(serving)))
    recorded = config == champion.config_name
    left_over = recorded if leaving else not recorded and _OUR_CONFIG.fullmatch(config)
    return Retirement(champion.release_id, present[champion.release_id], leaving) if left_over else None
