from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slipway.canary.comparison import Verdict
from slipway.canary.plan import ALPHA_SHARES, CanaryPlan
from slipway.canary.progress import StepProgress
from slipway.errors import InvalidParamsError

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def plan(*weights: float) -> CanaryPlan:
    return CanaryPlan(
        challenger="b" * 12, champion="a" * 12, weights_pct=weights, bake_seconds=600, max_hold_seconds=3600, alpha=0.01
    )


@pytest.mark.parametrize("weights", [(), (5, 5), (25, 5), (0, 5), (5, 100), (-1, 5)])
def test_weights_must_rise_between_0_and_100(weights):
    with pytest.raises(ValidationError):
        plan(*weights)


@given(st.integers(1, 20))
def test_all_comparisons_of_all_steps_together_have_alpha(steps: int):
    canary = plan(*range(1, steps + 1))
    parts = [canary.alpha_of(step, name) for step in range(1, steps + 2) for name in ("error", "slow", "rejected")]
    assert sum(parts) == pytest.approx(0.01)
    assert min(parts) > 0


@pytest.mark.parametrize("source", list(ALPHA_SHARES))
def test_outcomes_take_their_part_from_all_others_and_the_whole_stays(source: str):
    without = plan(5, 25).model_copy(update={"source": source})
    judged = without.model_copy(update={"outcomes": True})
    parts = [judged.alpha_of(step, name) for step in (1, 2, 3) for name in judged.alpha_shares]
    assert sum(parts) == pytest.approx(0.01)
    assert set(judged.alpha_shares) == {*without.alpha_shares, "wrong"}
    for name in without.alpha_shares:
        assert judged.alpha_of(1, name) == pytest.approx(0.8 * without.alpha_of(1, name))


def test_a_plan_of_before_outcomes_were_judged_has_none():
    kept = plan(5).model_dump(mode="json")
    del kept["outcomes"]
    assert CanaryPlan.model_validate(kept).outcomes is False


def test_the_first_step_has_half_of_alpha_and_its_errors_most_of_that():
    assert plan(5, 25, 50).alpha_of(1, "error") == pytest.approx(0.003)
    assert plan(5, 25, 50).alpha_of(3, "error") == plan(5, 25, 50).alpha_of(4, "error")


def test_an_override_may_only_shorten():
    assert plan(5, 25, 50).shortened([50, 5]).weights_pct == (5, 50)
    with pytest.raises(InvalidParamsError, match=r"\[5.0, 25.0, 50.0\]; found \[10\]"):
        plan(5, 25, 50).shortened([10])
    with pytest.raises(InvalidParamsError):
        plan(5, 25, 50).shortened([])


def step(number: int, verdict: Verdict, **changes) -> StepProgress:
    return StepProgress(number=number, weight_pct=5, began_at=NOW, verdict=verdict, ended_at=NOW).model_copy(
        update=changes
    )


def test_finish_needs_a_pass_or_an_approval_of_every_step():
    steps = [step(1, Verdict.PASS), step(2, Verdict.INCONCLUSIVE)]
    assert plan(5, 25, 50).missing_passes(steps) == [2, 3]
    assert plan(5, 25, 50).missing_passes([*steps[:1], step(2, Verdict.INCONCLUSIVE, approved_by="ann")]) == [3]
    assert plan(5).missing_passes(steps) == []


def test_a_step_that_failed_once_or_has_not_ended_does_not_count():
    assert plan(5).missing_passes([step(1, Verdict.PASS, failed_because="look 2")]) == [1]
    assert plan(5).missing_passes([step(1, Verdict.PASS, ended_at=None)]) == [1]


def test_a_plan_survives_its_json():
    assert CanaryPlan.model_validate_json(plan(5, 25).model_dump_json()) == plan(5, 25)
