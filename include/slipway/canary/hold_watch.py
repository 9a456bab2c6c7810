"""Guarding a canary that a person holds between two of its steps.

While a step is judged, its own watch obeys a hold. Between two steps (a hook, a gate or the queue takes its time) no
watch is open: the next step waits here before it changes anything, and the traffic goes on being judged.
"""

from __future__ import annotations

from slipway.canary.gate_watch import GateWatch
from slipway.state import EndpointState, Promotion


class HoldWatch(GateWatch):
    """Ticks until a hold is taken back, or what is held has to be taken back; see `GateWatch`."""

    waits = ("held before {place}", "while it was held before {place}")

    def over(self, state: EndpointState, promotion: Promotion) -> str | None:
        """Tell that nothing is held any more, or None."""
        del promotion
        return None if state.flags.hold else "not held any more"
