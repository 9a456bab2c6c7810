"""Guarding a canary while a person thinks: the traffic that it has goes on being judged.

The tests of the step before stay valid at every look, so going on with them costs no further alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from slipway.canary.comparison import Verdict
from slipway.canary.evaluation import Evaluation, StepRules, evaluate
from slipway.canary.metric_source import MetricSource
from slipway.canary.progress import find_step, with_step
from slipway.canary.step import Action, StepDecision
from slipway.canary.watch import WatchedStep, look_detail, prolong_lease
from slipway.canary.window import closed_window
from slipway.ledger import Ledger, LedgerEntry
from slipway.state import EndpointState, Promotion, StateStore
from slipway.transition import stop


@dataclass(frozen=True)
class GuardedStep:
    """How the traffic is judged that the challenger has while it waits."""

    rules: StepRules
    source: MetricSource
    check_endpoint: Callable[[], None]


class GateWatch:
    """Ticks until a gate is answered, or what waits there has to be taken back.

    Args:
        step: What is watched; its number is that of the step whose traffic goes on.
        place: The gate's place.
        guarded: How that traffic is judged; None before the first step, where there is none.
        states: The endpoint's state.
        ledger: Where looks are written down, each time the verdict changes.
        now: The clock, with time zone.
    """

    def __init__(
        self,
        step: WatchedStep,
        place: str,
        guarded: GuardedStep | None,
        *,
        states: StateStore,
        ledger: Ledger,
        now: Callable[[], datetime],
    ) -> None:
        self._step = step
        self._place = place
        self._guarded = guarded
        self._states = states
        self._ledger = ledger
        self._now = now
        self._periods = 0
        self._verdict: Verdict | None = None

    #: What the promotion waits for, and what it waited for.
    waits: ClassVar[tuple[str, str]] = ("a person is asked at {place}", "while a person was asked at {place}")

    def over(self, state: EndpointState, promotion: Promotion) -> str | None:
        """Tell why there is nothing left to wait for, or None.

        Args:
            state: The endpoint's state.
            promotion: The promotion that waits.
        """
        del state
        answer = promotion.gate_answer(self._place)
        return f"answered by {answer.by}" if answer else None

    def tick(self) -> StepDecision | None:
        """Look if there is something new to see.

        Returns:
            The end of the wait: answered, whatever the answer, or a reason to roll back; None while it goes on.

        Raises:
            SlipwayError: The endpoint was changed by somebody else, or AWS does not answer.
        """
        state, _ = self._states.read(self._step.endpoint)
        promotion = state.promotion if state else None
        if state is None or promotion is None or promotion.run_id != self._step.run_id:
            return StepDecision(Action.ADVANCE, "the promotion has ended: there is nothing to guard")
        if over := self.over(state, promotion):
            return StepDecision(Action.ADVANCE, over)
        if state.flags.abort:
            return self._roll_back(f"aborted by {state.flags.abort.said}")
        now = self._now()
        prolong_lease(self._states, self._step, state.lease, now)
        return self._look(promotion, self._guarded, now) if self._guarded else None

    def _look(self, promotion: Promotion, guarded: GuardedStep, now: datetime) -> StepDecision | None:
        progress = find_step(promotion.steps, self._step.number)
        if progress is None:
            return None
        rules = guarded.rules
        window = closed_window(
            progress.began_at, now, period_seconds=rules.period_seconds, settle_seconds=rules.settle_seconds
        )
        if window.periods == self._periods:
            return None
        guarded.check_endpoint()
        evaluation = evaluate(progress, rules, guarded.source, now)
        verdict = evaluation.look.verdict
        failed = StepDecision(Action.ROLL_BACK, "; ".join(evaluation.look.reasons)) if verdict is Verdict.FAIL else None
        if verdict is not self._verdict:
            self._write_down(evaluation, failed or StepDecision(Action.WAIT, self._waits(0)))
            self._verdict = verdict
        self._periods = window.periods  # only now: a look that failed is made again at the next tick
        if failed is None:
            return None
        self._states.update(self._step.endpoint, lambda state: _with_failure(state, self._step.run_id, evaluation))
        return self._roll_back(f"{self._waits(1)}: {failed.reason}")

    def _waits(self, tense: int) -> str:
        return self.waits[tense].format(place=self._place)

    def _roll_back(self, reason: str) -> StepDecision:
        self._states.update(self._step.endpoint, lambda state: stop(state, self._step.run_id, reason))
        return StepDecision(Action.ROLL_BACK, reason)

    def _write_down(self, evaluation: Evaluation, decision: StepDecision) -> None:
        entry = LedgerEntry(
            action="looked",
            subject=f"step {self._step.number} of {self._step.endpoint}",
            user=self._step.user,
            reason=decision.reason,
            detail=look_detail(evaluation, decision),
        )
        self._ledger.record(self._step.service, self._step.run_id, self._step.task_id, entry)


def _with_failure(state: EndpointState, run_id: str, evaluation: Evaluation) -> EndpointState:
    """A step that passed and failed later did not pass: no one may finish over it."""
    promotion = state.promotion
    if promotion is None or promotion.run_id != run_id:
        return state
    steps = with_step(promotion.steps, evaluation.step)
    return state.model_copy(update={"promotion": promotion.model_copy(update={"steps": steps})})
