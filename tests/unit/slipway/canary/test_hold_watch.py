"""Between two steps a hold is waited for, and the traffic goes on being judged."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.canary.gate_watch import GuardedStep
from slipway.canary.hold_watch import HoldWatch
from slipway.canary.step import Action
from slipway.canary.watch import WatchedStep
from slipway.transition import resume
from tests.unit.slipway.canary.test_watch import ENDPOINT, RUN, Bench, FixedRate


@pytest.fixture
def bench(memory_s3: Any) -> Bench:
    """A canary whose first step has passed, and that is held then."""
    bench = Bench(memory_s3, FixedRate(300, 0))
    assert bench.run(bench.watch(), 300).action is Action.ADVANCE
    bench.flag("hold")
    return bench


def held(bench: Bench) -> HoldWatch:
    step = WatchedStep("flights", ENDPOINT, RUN, "step_2.shift", "ann", 1, holder="dag/run", lease_seconds=600)
    guarded = GuardedStep(bench.rules, bench.source, lambda: bench.check())
    kept: dict[str, Any] = {"states": bench.states, "ledger": bench.ledger, "now": lambda: bench.clock}
    return HoldWatch(step, "step 2", guarded, **kept)


def test_it_ends_when_the_hold_is_taken_back(bench: Bench) -> None:
    watch = held(bench)
    assert bench.run(watch, 120) is None
    bench.change(lambda state: resume(state, at=bench.clock))
    decision = watch.tick()
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.ADVANCE, "not held any more")


def test_an_abort_goes_before_the_hold(bench: Bench) -> None:
    bench.flag("abort")
    decision = held(bench).tick()
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.ROLL_BACK, "aborted by ann")


def test_a_release_that_turns_bad_meanwhile_is_taken_back(bench: Bench) -> None:
    bench.source = FixedRate(300, 60)
    decision = bench.run(held(bench), 120)
    assert decision.action is Action.ROLL_BACK
    assert decision.reason.startswith("while it was held before step 2: error: the challenger is worse")
