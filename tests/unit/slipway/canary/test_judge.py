import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.canary.comparison import INTERVAL_ALPHA, JudgePolicy, Verdict, compare, requests_needed
from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts
from slipway.canary.judge import judge
from slipway.errors import InvalidInputError

POLICY = JudgePolicy(alpha=0.01)


def counts(*periods: tuple[int, int, int, int], together: bool = True) -> ComparisonCounts:
    """Periods as (challenger's requests, bad, champion's requests, bad)."""
    return ComparisonCounts(
        tuple(PeriodCounts(challenger=ArmCounts(a, b), champion=ArmCounts(c, d)) for a, b, c, d in periods), together
    )


def look(*periods: tuple[int, int, int, int], **options):
    return judge({"error": counts(*periods)}, {"error": POLICY}, planned_share=0.05, **options)


def test_equal_arms_pass_once_the_sample_is_there():
    result = look((3000, 30, 57000, 570))
    assert result.verdict is Verdict.PASS
    assert result.comparisons[0].requests_needed == 0


def test_equal_arms_with_few_requests_are_not_settled_and_say_how_many_are_missing():
    result = look((50, 0, 950, 9))
    assert result.verdict is Verdict.INCONCLUSIVE
    needed = result.comparisons[0].requests_needed
    assert needed is not None
    assert needed >= 950
    assert str(needed) in result.reasons[0]


def test_five_times_the_errors_fail_within_a_few_hundred_requests():
    result = look((400, 20, 7600, 76))
    assert result.verdict is Verdict.FAIL
    assert result.comparisons[0].e_value >= 100


def test_a_bad_rate_under_the_floor_never_fails():
    policy = JudgePolicy(alpha=0.01, ignore_below=0.001)
    result = compare("error", counts((100_000, 60, 1_900_000, 19)), policy)
    assert result.verdict is not Verdict.FAIL


@pytest.mark.parametrize(("period", "arm"), [((0, 0, 500, 5), "challenger"), ((500, 5, 0, 0), "champion")])
def test_an_arm_without_requests_is_no_data(period, arm):
    result = look(period)
    assert result.verdict is Verdict.NO_DATA
    assert arm in result.reasons[0]


def test_no_periods_and_no_comparisons_are_no_data():
    assert look().verdict is Verdict.NO_DATA
    assert judge({}, {}, planned_share=0.05).verdict is Verdict.NO_DATA


def test_all_requests_failing_in_both_arms_is_neither_success_nor_failure():
    result = look((1000, 1000, 19000, 19000))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "both arms" in result.reasons[0]


def test_a_champion_that_fails_is_replaced_by_a_release_that_does_not():
    result = look((50_000, 0, 950_000, 285_000))
    assert result.verdict is Verdict.PASS
    assert result.comparisons[0].challenger_interval[1] < POLICY.hold_above


def test_beside_a_failing_champion_too_few_requests_are_not_settled_and_say_how_many_are_missing():
    few = JudgePolicy(alpha=0.01, min_requests=1)
    result = compare("error", counts((30, 4, 600, 180)), few)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.requests_needed
    assert str(result.requests_needed) in result.reason
    factor = 2 + result.requests_needed // 30
    grown = compare("error", counts((30 * factor, 4 * factor, 600 * factor, 180 * factor)), few)
    assert grown.verdict is Verdict.PASS


@pytest.mark.parametrize("bad", [10_500, 14_000, 50_000])
def test_a_release_that_fails_above_the_limit_too_holds_though_the_champion_is_worse(bad):
    result = look((50_000, bad, 950_000, 900_000))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons[0].startswith("error: both arms fail more than 20 % of their requests")
    assert result.comparisons[0].requests_needed is None


arms = st.integers(1, 20_000).flatmap(lambda requests: st.tuples(st.just(requests), st.integers(0, requests)))


@given(arms, arms, st.sampled_from([0.05, 0.2, 0.5]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_each_pass_rests_on_its_e_value_and_on_one_arm_below_the_limit(challenger, champion, limit, together):
    policy = JudgePolicy(alpha=0.01, hold_above=limit)
    result = compare("error", counts((*challenger, *champion), together=together), policy)
    below = champion[1] / champion[0] <= limit or result.challenger_interval[1] < limit
    evidence = challenger[0] >= policy.min_requests and result.e_value_no_worse >= result.e_value_no_worse_needed
    failed = result.e_value >= result.e_value_needed
    assert (result.verdict is Verdict.PASS) is (evidence and below and not failed)
    assert (result.verdict is Verdict.FAIL) is failed


def test_a_release_at_the_limit_passes_beside_a_worse_champion_no_more_often_than_it_may_over_25_looks():
    """Half of the champion's requests fail, so only the limit itself stands against the release."""
    looks, runs = 25, 400
    rng = np.random.default_rng(11)
    policy = JudgePolicy(alpha=0.01, min_requests=100)
    bad = np.cumsum(rng.binomial(200, policy.hold_above, (runs, looks)), axis=1)
    passed = sum(
        any(_passes((200 * n, int(of_run[n - 1]), 200 * n, 100 * n), policy) for n in range(1, looks + 1))
        for of_run in bad
    )
    assert passed / runs <= INTERVAL_ALPHA


def _passes(period, policy) -> bool:
    from slipway.canary.comparison import _log_e_value_no_worse, _no_worse

    found = counts(period)
    arms = (found.challenger, found.champion, policy)
    return _no_worse(*arms, _log_e_value_no_worse(*arms))


def test_a_failure_is_latched_though_the_challenger_recovers():
    result = look((30000, 300, 570000, 5700), latched_failure="error: worse at look 2")
    assert result.verdict is Verdict.FAIL
    assert "look 2" in result.reasons[0]


def test_a_dry_run_comparison_is_shown_and_not_acted_on():
    good, bad = counts((3000, 30, 57000, 570)), counts((3000, 600, 57000, 570))
    result = judge(
        {"error": good, "slow": bad},
        {"error": POLICY, "slow": POLICY},
        planned_share=0.05,
        dry_run=frozenset({"slow"}),
    )
    assert result.verdict is Verdict.PASS
    assert {c.name: c.verdict for c in result.comparisons}["slow"] is Verdict.FAIL


def test_one_failing_comparison_fails_the_look():
    good, bad = counts((3000, 30, 57000, 570)), counts((3000, 600, 57000, 570))
    result = judge({"error": good, "slow": bad}, {"error": POLICY, "slow": POLICY}, planned_share=0.05)
    assert result.verdict is Verdict.FAIL
    assert [reason.split(":")[0] for reason in result.reasons] == ["slow"]


def test_a_share_that_contradicts_the_weight_stops_a_pass_but_not_a_failure():
    mismatched = look((9000, 90, 51000, 510))
    assert mismatched.verdict is Verdict.INCONCLUSIVE
    assert mismatched.share is not None
    assert mismatched.share.mismatch
    assert look((9000, 900, 51000, 510)).verdict is Verdict.FAIL


def test_a_late_point_is_counted_at_the_next_look():
    before = look((200, 2, 3800, 38))
    after = look((200, 12, 3800, 38), (200, 12, 3800, 38))
    assert before.verdict is Verdict.INCONCLUSIVE
    assert after.verdict is Verdict.FAIL


def test_more_bad_than_requests_is_refused():
    with pytest.raises(InvalidInputError, match="11 bad requests of 10"):
        ArmCounts(10, 11)


@pytest.mark.parametrize(
    ("baseline", "canary"),
    [([0, 0, 0, 0, 0, 0], [0, 1, 2, 1, 0, 0]), ([1] * 10, [100] * 7 + [1] * 3)],
    ids=["kayenta issue 426", "spinnaker issue 6278"],
)
def test_published_counter_examples_of_kayenta_are_flagged(baseline, canary):
    """Errors a minute that a repeated Mann-Whitney test lets pass; here as minutes of 200 requests in each arm.

    Source: https://github.com/spinnaker/kayenta/issues/426 and https://github.com/spinnaker/spinnaker/issues/6278.
    """
    requests = 200
    periods = [(requests, min(bad, requests), requests, base) for bad, base in zip(canary, baseline, strict=True)]
    result = compare("error", counts(*periods), JudgePolicy(alpha=0.1, ignore_below=0.0))
    assert result.e_value > 1
    if max(canary) > 2:
        assert result.verdict is Verdict.FAIL


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.floats(0, 0.2),
    st.floats(0, 0.2),
)
@settings(max_examples=60, deadline=None)
def test_needed_requests_are_enough_or_said_to_be_impossible(challenger_n, champion_n, challenger_rate, champion_rate):
    challenger = ArmCounts(challenger_n, round(challenger_n * challenger_rate))
    champion = ArmCounts(champion_n, round(champion_n * champion_rate))
    needed = requests_needed(challenger, champion, POLICY)
    if needed is None:
        both_fail = min(challenger.rate, champion.rate) >= POLICY.hold_above
        assert both_fail or challenger.rate > max(champion.rate, POLICY.ignore_below)
        return
    factor = (challenger.requests + needed * 1.05 + 50) / challenger.requests
    grown = counts(
        (
            round(challenger.requests * factor),
            math.floor(challenger.bad * factor),
            round(champion.requests * factor) + 1,
            round(champion.bad * factor),
        )
    )
    assert compare("error", grown, POLICY).verdict is not Verdict.NO_DATA


def test_healthy_releases_are_rolled_back_no_more_often_than_alpha_over_25_looks():
    alpha, looks, runs = 0.05, 25, 400
    rng = np.random.default_rng(7)
    policy = JudgePolicy(alpha=alpha, ignore_below=0.0005)
    rolled_back = 0
    for _ in range(runs):
        challenger_n = rng.binomial(400, 0.25, looks)
        champion_n = 400 - challenger_n
        periods = list(
            zip(
                challenger_n,
                rng.binomial(challenger_n, 0.01),
                champion_n,
                rng.binomial(champion_n, 0.01),
                strict=True,
            )
        )
        rolled_back += any(_fails(periods[: n + 1], policy) for n in range(looks))
    assert rolled_back / runs <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / runs)


def _fails(periods, policy) -> bool:
    from slipway.canary.comparison import _log_e_value_worse

    return _log_e_value_worse(counts(*[tuple(map(int, p)) for p in periods]), policy) >= math.log(1 / policy.alpha)


def test_at_full_weight_the_challenger_is_held_against_the_champion_of_before():
    healthy = judge({"error": counts((3000, 30, 57000, 570), together=False)}, {"error": POLICY}, planned_share=None)
    assert healthy.verdict is Verdict.PASS
    assert healthy.share is None
    broken = judge({"error": counts((3000, 150, 57000, 570), together=False)}, {"error": POLICY}, planned_share=None)
    assert broken.verdict is Verdict.FAIL


WRONG = JudgePolicy(alpha=0.01, min_requests=0, hold_above=1.0, waited_for=False, counted="outcomes")


def look_with_outcomes(*wrong: tuple[int, int, int, int], policy=WRONG, error=(3000, 30, 57000, 570)):
    found = {"error": counts(error), "wrong": counts(*wrong)}
    return judge(found, {"error": POLICY, "wrong": policy}, planned_share=0.05)


@pytest.mark.parametrize("wrong", [[], [(0, 0, 40, 9)], [(3, 1, 40, 9)], [(400, 90, 8000, 1800)]])
def test_a_step_passes_without_outcomes_with_few_and_with_good_ones(wrong):
    result = look_with_outcomes(*wrong)
    assert result.verdict is Verdict.PASS
    assert all(reason.startswith("error: ") or "wrong: below" in reason for reason in result.reasons)


def test_outcomes_alone_can_fail_a_step_though_nobody_waits_for_them():
    result = look_with_outcomes((400, 200, 8000, 1800))
    assert result.verdict is Verdict.FAIL
    assert result.reasons[0].startswith("wrong: the challenger is worse: 50.000% of 400 against 22.500% of 8000")


def test_outcomes_that_are_waited_for_hold_a_step_until_they_are_there():
    waited = dataclasses.replace(WRONG, min_requests=200, waited_for=True)
    assert look_with_outcomes(policy=waited).verdict is Verdict.NO_DATA
    few = look_with_outcomes((50, 10, 950, 200), policy=waited)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "more outcomes needed" in few.reasons[0]
    assert look_with_outcomes((400, 90, 8000, 1800), policy=waited).verdict is Verdict.PASS


def test_a_champion_that_is_often_wrong_can_be_compared():
    assert look_with_outcomes((2000, 800, 38000, 15200)).comparisons[1].verdict is Verdict.PASS
    assert look_with_outcomes((2000, 1200, 38000, 15200)).verdict is Verdict.FAIL


def test_outcomes_of_earlier_steps_are_not_taken_for_the_split_of_this_one():
    """Step 2 has 25 % and began a moment ago; what is known by now was answered in step 1, at 5 %."""
    found = judge(
        {
            "error": counts((300, 3, 900, 9)),
            "wrong": dataclasses.replace(counts((2000, 200, 38000, 3800)), of_step=False),
        },
        {"error": POLICY, "wrong": WRONG},
        planned_share=0.25,
    )
    assert found.share is not None
    assert found.share.observed_share == 0.25
    assert not found.share.mismatch


def test_outcomes_do_not_make_up_for_errors_that_are_not_settled():
    result = look_with_outcomes((400, 90, 8000, 1800), error=(50, 0, 950, 9))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons[0].startswith("error: ")
