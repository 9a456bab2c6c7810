"""One comparison at one look: from the counts of both arms to a verdict on one kind of bad request.

* ``FAIL``: the challenger is worse than ``max_ratio`` times the champion *and* above the floor that does not matter,
  each by a test that is valid at every look. The smaller of the two e-values is an e-value for "at least one of the
  two is fine", so neither needs a share of alpha.
* ``PASS``: the planned sample is there and a third test, valid at every look too, rules out that the challenger is
  worse by the margin or more (non-inferiority). Beside a champion that fails beyond an absolute limit that proves
  little, so the challenger's own rate has to be below the limit, too, by the upper end of its interval. This condition
  only takes passes away: what bounds the chance of a wrong one stays as it is. A champion that fails can be replaced.
* ``INCONCLUSIVE``: neither yet; the result says how many more requests are needed at the present rates.
* ``NO_DATA``: an arm has no closed period with requests. Never a success, nor a failure: at 100 % of the
  traffic, after a champion that had none in the steps before, a person or the spec's rule ends the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from slipway.canary import confidence
from slipway.canary.counts import ArmCounts, ComparisonCounts
from slipway.canary.e_process import log_e_value_of_level, log_e_value_of_no_worse, log_e_value_of_ratio

#: Chance that a step passes though the challenger is worse by the margin, over all looks: half of it for the
#: champion's bound, half for the challenger's test. The later steps and the bake at 100 % judge again.
PASS_ALPHA = 0.10
#: The margin is at least this part of the accepted rate; a fixed number of points would never be shown at high rates.
RELATIVE_MARGIN = 0.5
#: Chance that a rate is ever outside the interval that is shown for it, over all looks.
INTERVAL_ALPHA = 0.05
#: Beyond this the answer to "how many more requests" is "more than this service will see".
_SEARCH_LIMIT_REQUESTS = 1 << 30


class Verdict(StrEnum):
    """The outcome of one look."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"


@dataclass(frozen=True)
class JudgePolicy:
    """What the judge accepts.

    Args:
        alpha: Chance that a healthy challenger fails this comparison in this step, over all looks.
        max_ratio: Accepted ratio of the challenger's bad rate to the champion's.
        ignore_below: Bad rate under which the challenger never fails, between 0 and 1.
        min_requests: Planned sample: requests of the challenger before a pass.
        margin: Increase over the accepted bad rate that a pass must rule out, between 0 and 1; half of the accepted
            rate where that is more.
        hold_above: Bad rate of the champion above which the challenger passes only when its own is provably lower
            than this; if it is not, both arms fail and the comparison says nothing.
        waited_for: Whether a step passes only when this comparison does; else it can only fail it.
        counted: What is counted, for messages.
    """

    alpha: float
    max_ratio: float = 1.0
    ignore_below: float = 0.001
    min_requests: int = 1000
    margin: float = 0.01
    hold_above: float = 0.2
    waited_for: bool = True
    counted: str = "requests"


@dataclass(frozen=True)
class ComparisonResult:
    """One comparison at one look, with everything that a person needs to check it.

    The intervals hold the arms' true rates at all looks at once, with a confidence of 95 %.
    """

    name: str
    verdict: Verdict
    reason: str
    challenger: ArmCounts
    champion: ArmCounts
    challenger_interval: tuple[float, float]
    champion_interval: tuple[float, float]
    e_value: float
    e_value_needed: float
    rate_to_rule_out: float
    e_value_no_worse: float
    e_value_no_worse_needed: float
    requests_needed: int | None
    dry_run: bool = False
    waited_for: bool = True
    counted: str = "requests"


def compare(name: str, counts: ComparisonCounts, policy: JudgePolicy, *, dry_run: bool = False) -> ComparisonResult:
    """Compare the two arms on one kind of bad request.

    Args:
        name: The comparison's name, for messages.
        counts: Closed periods since the step began.
        policy: What to accept.
        dry_run: Whether the result is only shown.

    Returns:
        Verdict, reason, sums, evidence, bound and the number of requests still needed.
    """
    challenger, champion = counts.challenger, counts.champion
    log_worse = (
        _log_e_value_worse(counts, policy) if counts.together else _log_e_value_worse_than_before(counts, policy)
    )
    log_no_worse = _log_e_value_no_worse(challenger, champion, policy)
    verdict, reason, needed = _decide(counts, policy, log_worse, log_no_worse)
    return ComparisonResult(
        name=name,
        verdict=verdict,
        reason=reason,
        challenger=challenger,
        champion=champion,
        challenger_interval=_interval(challenger),
        champion_interval=_interval(champion),
        e_value=_finite_exp(log_worse),
        e_value_needed=1.0 / policy.alpha,
        rate_to_rule_out=_rate_to_rule_out(champion, policy),
        e_value_no_worse=_finite_exp(log_no_worse),
        e_value_no_worse_needed=2.0 / PASS_ALPHA,
        requests_needed=needed,
        dry_run=dry_run,
        waited_for=policy.waited_for,
        counted=policy.counted,
    )


def requests_needed(challenger: ArmCounts, champion: ArmCounts, policy: JudgePolicy) -> int | None:
    """Requests of the challenger still missing for a pass if both arms keep their present rates.

    Args:
        challenger: The challenger's sum.
        champion: The champion's sum.
        policy: What to accept.

    Returns:
        A number of requests, or None when no number suffices (the rate itself is over the margin).
    """
    if challenger.requests == 0 or champion.requests == 0:
        return policy.min_requests
    low = challenger.requests
    high = max(policy.min_requests, low)
    while not _passes_when_scaled(challenger, champion, policy, high):
        low, high = high, high * 2
        if high > _SEARCH_LIMIT_REQUESTS:
            return None
    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if _passes_when_scaled(challenger, champion, policy, middle) else (middle, high)
    return max(0, high - challenger.requests, policy.min_requests - challenger.requests)


def _decide(
    counts: ComparisonCounts, policy: JudgePolicy, log_worse: float, log_no_worse: float
) -> tuple[Verdict, str, int | None]:
    challenger, champion = counts.challenger, counts.champion
    if challenger.requests == 0:
        return Verdict.NO_DATA, _nothing_yet("challenger", policy), policy.min_requests
    if champion.requests == 0:
        if counts.together or not counts.of_step:
            return Verdict.NO_DATA, _nothing_yet("champion", policy), policy.min_requests
        return Verdict.NO_DATA, _nothing_any_more(challenger, policy), None
    rates = f"{challenger.rate:.3%} of {challenger.requests} against {champion.rate:.3%} of {champion.requests}"
    if log_worse >= math.log(1.0 / policy.alpha):
        return Verdict.FAIL, f"the challenger is worse: {rates}", None
    if min(challenger.rate, champion.rate) > policy.hold_above:
        limit_pct = 100 * policy.hold_above
        both = f"both arms fail more than {limit_pct:g} % of their {policy.counted}"
        return Verdict.INCONCLUSIVE, f"{both}: {rates}; nothing can be compared", None
    if challenger.requests >= policy.min_requests and _no_worse(challenger, champion, policy, log_no_worse):
        return Verdict.PASS, f"below {_rate_to_rule_out(champion, policy):.2%}: {rates}", 0
    needed = requests_needed(challenger, champion, policy)
    missing = f"about {needed} more {policy.counted} needed" if needed is not None else "no sample size will settle it"
    return Verdict.INCONCLUSIVE, f"not settled: {rates}; {missing}", needed


def _nothing_yet(arm: str, policy: JudgePolicy) -> str:
    return f"the {arm} has no {policy.counted} in a closed metric period yet"


def _nothing_any_more(challenger: ArmCounts, policy: JudgePolicy) -> str:
    return (
        f"the champion had no {policy.counted} in a whole metric period of the steps before, and gets none any more: "
        f"nothing can be compared, whatever the challenger does ({challenger.rate:.3%} of {challenger.requests} bad)"
    )


def _log_e_value_worse(counts: ComparisonCounts, policy: JudgePolicy) -> float:
    challenger = counts.challenger
    ratio = log_e_value_of_ratio(*counts.arrays(), max_ratio=policy.max_ratio)
    requests, bad = np.array([challenger.requests], dtype=float), np.array([challenger.bad], dtype=float)
    level = log_e_value_of_level(requests, bad, policy.ignore_below)
    return min(float(ratio), float(level[0]))


def _log_e_value_worse_than_before(counts: ComparisonCounts, policy: JudgePolicy) -> float:
    """Half of alpha for the champion's upper bound, half for the test of the challenger against it."""
    challenger, champion = counts.challenger, counts.champion
    highest = policy.max_ratio * confidence.upper_bound(champion.requests, champion.bad, policy.alpha / 2)
    requests, bad = np.array([challenger.requests], dtype=float), np.array([challenger.bad], dtype=float)
    limit = min(max(highest, policy.ignore_below), 0.999)
    return float(log_e_value_of_level(requests, bad, limit)[0]) - math.log(2)


def _log_e_value_no_worse(challenger: ArmCounts, champion: ArmCounts, policy: JudgePolicy) -> float:
    requests, bad = np.array([challenger.requests], dtype=float), np.array([challenger.bad], dtype=float)
    limit = np.array([_rate_to_rule_out(champion, policy)])
    return float(log_e_value_of_no_worse(requests, bad, limit)[0])


def _rate_to_rule_out(champion: ArmCounts, policy: JudgePolicy) -> float:
    """The rate that a pass must rule out: what is accepted, by the champion's lower bound, plus the margin."""
    lowest = policy.max_ratio * confidence.lower_bound(champion.requests, champion.bad, PASS_ALPHA / 2)
    accepted = max(lowest, policy.ignore_below)
    return min(accepted + max(policy.margin, RELATIVE_MARGIN * accepted), 0.999)


def _no_worse(challenger: ArmCounts, champion: ArmCounts, policy: JudgePolicy, log_no_worse: float) -> bool:
    """Whether the margin is ruled out, and so is that both arms fail."""
    if log_no_worse < math.log(2.0 / PASS_ALPHA):
        return False
    return champion.rate <= policy.hold_above or _interval(challenger)[1] < policy.hold_above


def _passes_when_scaled(challenger: ArmCounts, champion: ArmCounts, policy: JudgePolicy, requests: int) -> bool:
    factor = requests / challenger.requests
    scaled_challenger, scaled_champion = _scaled(challenger, factor), _scaled(champion, factor)
    log_no_worse = _log_e_value_no_worse(scaled_challenger, scaled_champion, policy)
    return _no_worse(scaled_challenger, scaled_champion, policy, log_no_worse)


def _scaled(arm: ArmCounts, factor: float) -> ArmCounts:
    requests = max(1, round(arm.requests * factor))
    return ArmCounts(requests=requests, bad=min(requests, round(arm.bad * factor)))


def _interval(arm: ArmCounts) -> tuple[float, float]:
    bounds = (confidence.lower_bound, confidence.upper_bound)
    low, high = (bound(arm.requests, arm.bad, INTERVAL_ALPHA) for bound in bounds)
    return low, high


def _finite_exp(log_value: float) -> float:
    return math.exp(min(log_value, 700.0))
