"""The traffic of a canary goes on being judged while a person is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from slipway.canary.comparison import Verdict
from slipway.canary.gate_watch import GateWatch, GuardedStep
from slipway.canary.step import Action
from slipway.canary.watch import WatchedStep
from slipway.errors import EndpointBusyError, ThrottledError
from slipway.state import GateAnswer
from slipway.transition import answer_gate, give_up
from tests.unit.slipway.canary.test_watch import ENDPOINT, RUN, Bench, FixedRate, throttled


@pytest.fixture
def bench(memory_s3: Any) -> Bench:
    """A canary whose first step has passed."""
    bench = Bench(memory_s3, FixedRate(300, 0))
    assert bench.run(bench.watch(), 300).action is Action.ADVANCE
    return bench


def guard(bench: Bench, *, judged: bool = True) -> GateWatch:
    step = WatchedStep("flights", ENDPOINT, RUN, "step_2.guard", "ann", 1, holder="dag/run", lease_seconds=600)
    guarded = GuardedStep(bench.rules, bench.source, lambda: bench.check())
    return GateWatch(
        step,
        "step 2",
        guarded if judged else None,
        states=bench.states,
        ledger=bench.ledger,
        now=lambda: bench.clock,
    )


def answer(bench: Bench, *, allow: bool) -> None:
    said = GateAnswer(place="step 2", allow=allow, by="bob", at=bench.clock)
    bench.change(lambda state: answer_gate(state, RUN, said))


@pytest.mark.parametrize("allow", [True, False])
def test_it_ends_with_the_answer_whatever_that_is(bench: Bench, allow: bool) -> None:
    watch = guard(bench)
    assert bench.run(watch, 120) is None
    answer(bench, allow=allow)
    decision = watch.tick()
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.ADVANCE, "answered by bob")


def test_a_release_that_turns_bad_is_taken_back_without_waiting_for_the_answer(bench: Bench) -> None:
    watch = guard(bench)
    assert bench.run(watch, 60) is None
    bench.source = FixedRate(300, 60)
    decision = bench.run(guard(bench), 60)
    assert decision.action is Action.ROLL_BACK
    assert "while a person was asked at step 2: error: the challenger is worse" in decision.reason
    assert (bench.step.verdict, bench.step.may_go_on) == (Verdict.FAIL, False)
    state, _ = bench.states.read(ENDPOINT)
    assert state is not None
    assert state.promotion is not None
    assert state.promotion.stopped_because == decision.reason


def test_a_look_that_aws_throttles_is_made_again_at_the_next_tick(bench: Bench) -> None:
    bench.source = FixedRate(300, 60)
    bench.check = throttled
    watch = guard(bench)
    with pytest.raises(ThrottledError):
        watch.tick()
    bench.check = lambda: None
    decision = watch.tick()
    assert decision is not None, "not a period later"
    assert decision.action is Action.ROLL_BACK


def test_an_abort_is_obeyed(bench: Bench) -> None:
    bench.flag("abort")
    decision = guard(bench, judged=False).tick()
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.ROLL_BACK, "aborted by ann")


def test_a_promotion_that_has_ended_leaves_nothing_to_guard(bench: Bench) -> None:
    bench.change(lambda state: give_up(state, run_id=RUN, at=bench.clock, by="ann", reason="gone"))
    decision = guard(bench).tick()
    assert decision is not None
    assert decision.action is Action.ADVANCE


def test_the_lease_is_kept_as_long_as_the_person_thinks(bench: Bench) -> None:
    bench.states.take_lease(ENDPOINT, "dag/run", purpose="canary", seconds=600)
    assert bench.run(guard(bench, judged=False), 7200, every=60) is None
    state, _ = bench.states.read(ENDPOINT)
    assert state is not None
    assert state.lease is not None
    assert state.lease.expires_at > bench.clock + timedelta(seconds=200)


def test_only_changes_of_the_verdict_are_written_down(bench: Bench) -> None:
    before = len(bench.ledger.read("flights"))
    assert bench.run(guard(bench), 600) is None
    assert len(bench.ledger.read("flights")) == before + 1


def test_somebody_elses_change_ends_it(bench: Bench) -> None:
    def changed() -> None:
        raise EndpointBusyError("somebody else changed the weights")

    bench.check = changed
    with pytest.raises(EndpointBusyError):
        guard(bench).tick()


def test_the_first_answer_and_the_first_reason_count(bench: Bench) -> None:
    answer(bench, allow=False)
    answer(bench, allow=True)
    state, _ = bench.states.read(ENDPOINT)
    assert state is not None
    assert state.promotion is not None
    assert [said.allow for said in state.promotion.gates] == [False]
