"""The life of a release in state.json, and that every step knows its own work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.canary.patience import Hold
from slipway.canary.progress import Question, StepProgress
from slipway.errors import CanaryFailedError, EndpointBusyError, NoWayBackError, SupersededError
from slipway.lease import Lease
from slipway.state import Approval, EndpointState, Flag, Flags, Promotion, WayTaken
from slipway.transition import (
    approve,
    ask,
    begin,
    give_up,
    go_back,
    lapse,
    lower_flag,
    promote,
    raise_flag,
    refuse_second_rollback,
    resume,
    stop,
    undeploy,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = EndpointState(endpoint="flights-prod")


def at(minute: int) -> datetime:
    return NOW + timedelta(minutes=minute)


def approval(release: str, minute: int = 0, run: str | None = None) -> Approval:
    return Approval(
        release_id=release, model_version=1, by="ann", at=at(minute), reason="good", run_id=run or f"deploy-{release}"
    )


def promotion(release: str, run: str, minute: int = 0) -> Promotion:
    return Promotion(run_id=run, release_id=release, model_version=1, strategy="canary", begun_at=at(minute))


def champion_is(release: str) -> EndpointState:
    state = begin(approve(EMPTY, approval(release)), promotion(release, f"promote-{release}"), by="asset")
    return promote(state, run_id=f"promote-{release}", config_name=f"config-{release}", at=at(1), by="asset")


def events(state: EndpointState) -> list[tuple[str, str]]:
    return [(entry.event, entry.release_id) for entry in state.history]


def test_after_an_undeployment_nothing_serves_nothing_waits_and_the_next_release_is_a_first_one() -> None:
    second = begin(approve(champion_is("a"), approval("b", 2)), promotion("b", "promote-b", 3), by="asset")
    state = promote(second, run_id="promote-b", config_name="config-b", at=at(4), by="asset")
    state = approve(state, approval("c", 5))
    done = undeploy(state, run_id="gone", at=at(6), by="carol", reason="retired")
    assert (done.champion, done.previous, done.approved) == (None, None, None)
    assert events(done)[-2:] == [("superseded", "c"), ("undeployed", "b")]
    assert (done.history[-1].by, done.history[-1].reason, done.history[-1].run_id) == ("carol", "retired", "gone")
    assert undeploy(done, run_id="gone", at=at(7), by="carol", reason="retired") == done
    with pytest.raises(NoWayBackError):
        go_back(done, run_id="back", config_name="config-a", at=at(8), by="carol", reason="")
    again = approve(done, approval("b", 9, run="deploy-again"))
    assert again.approved is not None


def test_the_whole_way_of_a_release() -> None:
    state = approve(EMPTY, approval("a"))
    assert state.approved == approval("a")
    state = begin(state, promotion("a", "run"), by="asset")
    assert (state.approved, state.promotion, state.champion) == (None, promotion("a", "run"), None)
    state = promote(state, run_id="run", config_name="config", at=at(9), by="asset")
    assert state.promotion is None
    assert state.champion is not None
    assert (state.champion.release_id, state.champion.config_name, state.champion.since) == ("a", "config", at(9))
    assert events(state) == [("approved", "a"), ("begun", "a"), ("promoted", "a")]


def test_the_old_champion_is_remembered() -> None:
    state = begin(approve(champion_is("a"), approval("b", 2)), promotion("b", "run-b"), by="asset")
    assert state.champion is not None
    assert state.champion.release_id == "a"
    state = promote(state, run_id="run-b", config_name="config-b", at=at(3), by="asset")
    assert state.previous is not None
    assert (state.previous.release_id, state.previous.config_name) == ("a", "config-a")


def test_a_rolled_back_release_leaves_the_champion_and_does_not_wait_again() -> None:
    waiting = approve(champion_is("a"), approval("b", 2))
    state = begin(waiting, promotion("b", "run-b"), by="asset")
    state = give_up(state, run_id="run-b", at=at(4), by="judge", reason="errors 5x")
    assert state.champion == champion_is("a").champion
    assert (state.promotion, state.approved) == (None, None)
    assert state.history[-1].reason == "errors 5x"
    # Its announcing task runs again after that: the same approval does not start a second promotion …
    assert approve(state, approval("b", 2)) is state
    # … a new run with a new approval does.
    assert approve(state, approval("b", 5, run="deploy-again")).approved is not None


def test_a_run_promotes_one_release_whatever_has_become_of_it() -> None:
    done = approve(champion_is("a"), approval("c", 2))
    with pytest.raises(SupersededError, match=r"promote-a was the promotion of release a, .*: promoted at"):
        begin(done, promotion("c", "promote-a"), by="asset")
    state = begin(done, promotion("c", "promote-c"), by="asset")
    assert begin(state, promotion("c", "promote-c"), by="asset") == state, "its own work"
    over = give_up(state, run_id="promote-c", at=at(4), by="judge", reason="errors 5x")
    with pytest.raises(SupersededError, match=r"rolled_back at .*\(errors 5x\).*`slipway promote flights`"):
        begin(approve(over, approval("d", 5)), promotion("d", "promote-c"), by="asset")


def test_a_run_goes_back_once_and_is_known_by_its_way() -> None:
    second = begin(approve(champion_is("a"), approval("b", 2)), promotion("b", "promote-b", 3), by="asset")
    state = promote(second, run_id="promote-b", config_name="config-b", at=at(4), by="asset")
    refuse_second_rollback(state, "back")
    way = WayTaken(route="warm", variant="a", config_name="config-a", instances=2, leaving=("b",), champion="b")
    state = go_back(state, run_id="back", config_name="config-2", at=at(5), by="carol", reason="slow", way=way)
    assert state.champion is not None
    assert state.champion.way == way
    refuse_second_rollback(state, "back")
    later = begin(approve(state, approval("c", 6)), promotion("c", "promote-c"), by="asset")
    later = promote(later, run_id="promote-c", config_name="config-c", at=at(7), by="asset")
    with pytest.raises(SupersededError, match="back took release b back at"):
        refuse_second_rollback(later, "back")


def test_the_newest_approval_wins_and_the_older_is_superseded() -> None:
    state = approve(approve(EMPTY, approval("a", 0)), approval("b", 1))
    assert state.approved is not None
    assert state.approved.release_id == "b"
    assert ("superseded", "a") in events(state)
    assert "b" in next(entry.reason for entry in state.history if entry.event == "superseded")


def test_an_older_approval_that_comes_late_changes_nothing() -> None:
    state = approve(EMPTY, approval("b", 5))
    assert approve(state, approval("a", 1)) is state


@pytest.mark.parametrize("minute", [2, 50])
def test_approving_the_champion_again_changes_nothing(minute: int) -> None:
    state = champion_is("a")
    assert approve(state, approval("a", minute, run="another")) == state


def test_approving_the_champion_again_takes_back_what_waits() -> None:
    waiting = approve(champion_is("a"), approval("b", 2))
    state = approve(waiting, approval("a", 3, run="another"))
    assert state.approved is None
    assert ("superseded", "b") in events(state)


def test_approving_what_is_being_promoted_changes_nothing() -> None:
    state = begin(approve(EMPTY, approval("a")), promotion("a", "run"), by="asset")
    assert approve(state, approval("a", 2, run="another")) == state


@pytest.mark.parametrize("waiting", [EMPTY, approve(EMPTY, approval("b"))])
def test_only_the_release_that_waits_can_begin(waiting: EndpointState) -> None:
    with pytest.raises(SupersededError, match="waits for promotion, not a"):
        begin(waiting, promotion("a", "run"), by="asset")


def test_a_frozen_endpoint_begins_nothing() -> None:
    state = raise_flag(approve(EMPTY, approval("a")), "frozen", Flag(by="bob", at=NOW, reason="holidays"))
    with pytest.raises(EndpointBusyError, match=r"frozen since .* by bob: holidays"):
        begin(state, promotion("a", "run"), by="asset")
    assert begin(lower_flag(state, "frozen"), promotion("a", "run"), by="asset").promotion is not None


def test_an_unfinished_promotion_blocks_the_next() -> None:
    state = begin(approve(EMPTY, approval("a")), promotion("a", "lost-run"), by="asset")
    state = approve(state, approval("b", 1))
    with pytest.raises(EndpointBusyError, match=r"still being promoted by lost-run.*once the promotion is an hour old"):
        begin(state, promotion("b", "run"), by="asset")


@pytest.mark.parametrize(
    ("holder", "said"),
    [("flights.promote/lost-run", r"run out \(2026-01-01 03:00 UTC\)"), ("flights.promote/run", "an hour old")],
)
def test_the_time_that_is_named_is_that_of_the_lost_runs_own_lease(holder: str, said: str) -> None:
    lease = Lease(holder=holder, purpose="promote", taken_at=NOW, expires_at=at(180))
    state = begin(approve(EMPTY, approval("a")), promotion("a", "lost-run"), by="asset")
    with pytest.raises(EndpointBusyError, match=said):
        begin(state.model_copy(update={"lease": lease}), promotion("b", "run"), by="asset")


def test_finishing_after_a_rollback_is_refused() -> None:
    state = begin(approve(EMPTY, approval("a")), promotion("a", "run"), by="asset")
    state = give_up(state, run_id="run", at=at(1), by="ann", reason="abort")
    with pytest.raises(SupersededError, match="promotion of run is not under way"):
        promote(state, run_id="run", config_name="c", at=at(2), by="asset")


def test_another_runs_rollback_leaves_this_promotion_alone() -> None:
    state = begin(approve(EMPTY, approval("a")), promotion("a", "run"), by="asset")
    assert give_up(state, run_id="other", at=at(1), by="x", reason="y") is state


def test_flags_keep_who_raised_them_first_and_end_with_the_promotion() -> None:
    flag, later = Flag(by="ann", at=NOW, reason="look"), Flag(by="bob", at=at(1))
    state = begin(approve(EMPTY, approval("a")), promotion("a", "run"), by="asset")
    for name in ("hold", "abort", "approve_now", "frozen"):
        state = raise_flag(state, name, flag)  # type: ignore[arg-type]
        assert getattr(raise_flag(state, name, later).flags, name) == flag  # type: ignore[arg-type]
    state = promote(lower_flag(state, "abort"), run_id="run", config_name="c", at=at(2), by="asset")
    assert state.flags == Flags(frozen=flag)


def test_what_was_aborted_or_refused_does_not_become_the_champion() -> None:
    state = begin(approve(EMPTY, approval("a")), promotion("a", "run"), by="asset")
    aborted = raise_flag(state, "abort", Flag(by="ann", at=NOW, reason="wrong notes"))
    with pytest.raises(CanaryFailedError, match="aborted by ann: wrong notes"):
        promote(aborted, run_id="run", config_name="c", at=at(2), by="asset")
    with pytest.raises(CanaryFailedError, match="a hook said no"):
        promote(stop(state, "run", "a hook said no"), run_id="run", config_name="c", at=at(2), by="asset")
    done = promote(state, run_id="run", config_name="c", at=at(2), by="asset")
    late = raise_flag(done, "abort", Flag(by="ann", at=at(3)))
    assert promote(late, run_id="run", config_name="c", at=at(4), by="asset") is late, "it is the champion already"


def test_wishes_about_an_earlier_promotion_do_not_reach_the_next_but_a_hold_does() -> None:
    flag = Flag(by="ann", at=NOW)
    state = raise_flag(approve(EMPTY, approval("a")), "abort", flag)
    state = raise_flag(raise_flag(state, "approve_now", flag), "hold", flag)
    assert begin(state, promotion("a", "run"), by="asset").flags == Flags(hold=flag)


def test_a_hold_that_is_over_is_kept_with_the_promotion_and_the_present_one_beside_it() -> None:
    state = begin(approve(EMPTY, approval("a")), promotion("a", "run"), by="asset")
    first, second = Flag(by="ann", at=at(1)), Flag(by="bob", at=at(5))
    state = resume(raise_flag(state, "hold", first), at=at(3))
    assert (state.flags.hold, resume(state, at=at(4))) == (None, state), "an answer that got lost adds nothing"
    state = raise_flag(state, "hold", second)
    over = Hold(by="ann", began_at=at(1), ended_at=at(3))
    assert state.holds == (over, Hold(by="bob", began_at=at(5)))
    assert state.promotion is not None
    assert state.promotion.holds == (over,)


def test_a_hold_without_a_promotion_is_lowered() -> None:
    assert resume(raise_flag(EMPTY, "hold", Flag(by="ann", at=NOW)), at=at(1)) == EMPTY


def test_the_first_question_about_a_step_of_this_run_counts() -> None:
    step = StepProgress(number=1, weight_pct=5, began_at=NOW)
    under_way = promotion("a", "run").model_copy(update={"steps": (step,)})
    state = begin(approve(EMPTY, approval("a")), under_way, by="asset")
    first = Question(asked_at=at(1), hours=72)
    asked = ask(state, "run", 1, first)
    assert asked.promotion is not None
    assert asked.promotion.steps == (step.model_copy(update={"question": first}),)
    assert ask(asked, "run", 1, Question(asked_at=at(2), hours=72)) is asked
    for run, number in (("other", 1), ("run", 2)):
        assert ask(state, run, number, first) is state


releases, runs, minutes = st.sampled_from("abc"), st.sampled_from(["r1", "r2", "r3"]), st.integers(0, 9)
steps = st.one_of(
    st.tuples(st.just("approve"), releases, runs, minutes),
    st.tuples(st.just("begin"), releases, runs, minutes),
    st.tuples(st.just("promote"), releases, runs, minutes),
    st.tuples(st.just("give_up"), releases, runs, minutes),
)


def apply(state: EndpointState, step: tuple[str, str, str, int]) -> EndpointState:
    name, release, run, minute = step
    actions: dict[str, Any] = {
        "approve": lambda: approve(state, approval(release, minute, run=f"deploy-{run}")),
        "begin": lambda: begin(state, promotion(release, run, minute), by="x"),
        "promote": lambda: promote(state, run_id=run, config_name=f"config-{release}", at=at(minute), by="x"),
        "give_up": lambda: give_up(state, run_id=run, at=at(minute), by="x", reason="y"),
    }
    try:
        return actions[name]()  # type: ignore[no-any-return]
    except (SupersededError, EndpointBusyError):
        return state


@given(st.lists(steps, max_size=60))
def test_in_any_order_each_step_is_idempotent_and_the_state_stays_sound(story: list[Any]) -> None:
    state = EMPTY
    for step in story:
        before, state = state, apply(state, step)
        assert apply(state, step) == state
        assert len(state.history) <= 50
        if state.champion != before.champion:
            assert before.promotion is not None
            assert state.champion is not None
            assert state.champion.release_id == before.promotion.release_id
            assert state.previous == before.champion
        if state.approved:
            assert state.approved.release_id != (state.promotion.release_id if state.promotion else None)
        assert EndpointState.model_validate_json(state.model_dump_json()) == state


def test_going_back_makes_the_previous_champion_the_champion_and_leaves_none_before_it() -> None:
    state = after_two_promotions()
    back = go_back(state, run_id="rollback_1", config_name="c9", at=at(50), by="carol", reason="complaints")
    assert back.champion is not None
    assert (back.champion.release_id, back.champion.config_name, back.champion.run_id) == ("a", "c9", "rollback_1")
    assert back.previous is None
    assert events(back)[-1] == ("rolled_back", "b")
    assert go_back(back, run_id="rollback_1", config_name="c9", at=at(51), by="carol", reason="") == back
    with pytest.raises(NoWayBackError):
        go_back(back, run_id="rollback_2", config_name="c9", at=at(52), by="carol", reason="")


def test_nobody_goes_back_in_the_middle_of_a_promotion() -> None:
    state = begin(approve(after_two_promotions(), approval("c", 30)), promotion("c", "promote_3", 31), by="asset")
    with pytest.raises(EndpointBusyError, match="promote_3"):
        go_back(state, run_id="rollback_1", config_name="c9", at=at(50), by="carol", reason="")


def test_an_approval_lapses_only_while_it_is_the_one_that_waits() -> None:
    old, new = approval("a", 0), approval("b", 1)
    waiting = approve(champion_is("z"), old)
    assert lapse(waiting, old, at=at(9), by="housekeeping").approved is None
    newer = approve(waiting, new)
    assert lapse(newer, old, at=at(9), by="housekeeping") == newer


def after_two_promotions() -> EndpointState:
    state = EndpointState(endpoint="flights-prod")
    for number, release in enumerate("ab"):
        run, minute = f"promote_{number}", 10 * number
        state = approve(state, approval(release, minute))
        state = begin(state, promotion(release, run, minute + 1), by="asset")
        state = promote(state, run_id=run, config_name=f"c{number}", at=at(minute + 2), by="asset")
    return state
