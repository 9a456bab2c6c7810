"""Does the traffic split as the weights say? (sample-ratio mismatch)

If it does not, something other than chance decides which arm a request meets, and the arms cannot be compared
(Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD 2019).
"""

from __future__ import annotations

from dataclasses import dataclass

from slipway.canary import confidence

#: Chance of a false mismatch over a whole step. Small, because a mismatch stops the comparison.
MISMATCH_ALPHA = 0.001
#: A proven deviation smaller than this part of the planned share is harmless to the comparison.
TOLERATED_DEVIATION = 0.10


@dataclass(frozen=True)
class ShareCheck:
    """The challenger's share of requests against its weight."""

    observed_share: float
    planned_share: float
    mismatch: bool

    @property
    def reason(self) -> str:
        """One sentence for the task page."""
        return (
            f"The challenger received {self.observed_share:.1%} of the requests where its weight says "
            f"{self.planned_share:.1%}: the arms cannot be compared. Look for somebody changing weights, for clients "
            "that pin a variant, or for retries that count twice."
        )


def check_share(challenger_requests: int, champion_requests: int, planned_share: float) -> ShareCheck:
    """Test the observed share of requests against the planned one, validly at every look.

    Args:
        challenger_requests: Requests that the challenger received since the step began.
        champion_requests: Requests that the champion received since the step began.
        planned_share: The challenger's weight over the sum of weights, between 0 and 1.

    Returns:
        Observed and planned share, and whether they differ provably by more than a tenth of the planned share.
    """
    total = challenger_requests + champion_requests
    low = confidence.lower_bound(total, challenger_requests, MISMATCH_ALPHA)
    high = confidence.upper_bound(total, challenger_requests, MISMATCH_ALPHA)
    tolerance = planned_share * TOLERATED_DEVIATION
    return ShareCheck(
        observed_share=challenger_requests / total if total else 0.0,
        planned_share=planned_share,
        mismatch=low > planned_share + tolerance or high < planned_share - tolerance,
    )
