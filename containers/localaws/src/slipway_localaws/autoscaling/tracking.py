"""Target tracking: how many instances a variant ought to have. Pure functions.

https://docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: A policy scales out when the metric was over the target for this many periods, and in when it was clearly under it
#: for this many.
PERIODS_OUT = 3
PERIODS_IN = 15
_CLEARLY_UNDER = 0.9


def wanted_capacity(values: Sequence[float | None], target: float, current: int, *, may_scale_in: bool) -> int:
    """The capacity that a target tracking policy calls for.

    Args:
        values: the metric by period, newest last; None where there is no value. Periods without traffic count as under
            the target, as CloudWatch's low alarm of such a policy treats missing data of a request count.
        target: the policy's target value.
        current: the capacity now.
        may_scale_in: whether the policy may take capacity away.

    Returns:
        The wanted capacity; ``current`` when nothing is to be done. Bounds are the caller's business.
    """
    newest = list(values[-PERIODS_OUT:])
    if len(newest) == PERIODS_OUT and all(value is not None and value > target for value in newest):
        return max(current, math.ceil(current * max(value or 0.0 for value in newest) / target))
    longest = [value or 0.0 for value in values[-PERIODS_IN:]]
    if may_scale_in and len(longest) == PERIODS_IN and all(value < _CLEARLY_UNDER * target for value in longest):
        return min(current, max(1, math.ceil(current * max(longest) / target)))
    return current
