"""Watching a step until it is decided: one tick after the other, from any process.

Everything that a tick needs is in the state, the metrics and the clock, so a watch that dies is taken up by the next.
A tick costs one read of the state; metrics are asked only when another period has closed, a limit of time has passed,
or a person asked for something. What such a look finds is written down only when it is new.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from slipway.canary.comparison import Verdict
from slipway.canary.evaluation import Evaluation, StepRules, evaluate, step_clock
from slipway.canary.judge import Look
from slipway.canary.metric_source import MetricSource
from slipway.canary.progress import StepProgress, find_step, with_step
from slipway.canary.step import Action, StepDecision, StepFlags, decide
from slipway.canary.window import closed_window
from slipway.errors import SupersededError, TransientError
from slipway.lease import Lease
from slipway.ledger import Ledger, LedgerEntry
from slipway.state import EndpointState, Flags, StateStore
from slipway.transition import lower_flag

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchedStep:
    """Which step of which promotion is watched, and on whose behalf."""

    service: str
    endpoint: str
    run_id: str
    task_id: str
    user: str
    number: int
    holder: str = ""
    """Who holds the endpoint's lease; the watch prolongs it, so that a lease that ran out means a lost canary."""
    lease_seconds: float = 0.0


class StepWatch:
    """Ticks until a step is decided.

    Args:
        step: What is watched.
        rules: What it is judged by.
        source: Where the counts come from.
        states: The endpoint's state.
        ledger: Where looks are written down.
        check_endpoint: Raises when somebody else changed the endpoint; called before each look.
        now: The clock, with time zone.
    """

    def __init__(
        self,
        step: WatchedStep,
        rules: StepRules,
        source: MetricSource,
        *,
        states: StateStore,
        ledger: Ledger,
        check_endpoint: Callable[[], None],
        now: Callable[[], datetime],
    ) -> None:
        self._step = step
        self._rules = rules
        self._source = source
        self._states = states
        self._ledger = ledger
        self._check_endpoint = check_endpoint
        self._now = now
        self._seen: tuple[int, StepFlags, tuple[bool, ...]] | None = None
        self._found: tuple[Look, StepDecision] | None = None

    def tick(self) -> StepDecision | None:
        """Look if there is something new to see.

        Returns:
            The decision that ends the step; that people are to be asked, until the state has the question; or None
            while it goes on.

        Raises:
            SupersededError: The promotion is not under way any more.
            SlipwayError: The endpoint was changed by somebody else, or AWS does not answer.
        """
        state, _ = self._states.read(self._step.endpoint)
        progress = self._progress(state)
        if progress.ended_at is not None:
            return _as_ended(progress)
        flags = step_flags(state.flags if state else Flags())
        now = self._now()
        prolong_lease(self._states, self._step, state.lease if state else None, now)
        rules = self._rules
        window = closed_window(
            progress.began_at, now, period_seconds=rules.period_seconds, settle_seconds=rules.settle_seconds
        )
        clock = step_clock(progress, rules, state.holds if state else (), now)
        to_see = (window.periods, flags, clock.limits_passed)
        if to_see == self._seen:
            return None
        try:
            self._check_endpoint()
            evaluation = evaluate(progress, rules, self._source, now)
        except TransientError as error:
            if flags.abort is None:
                raise
            return self._abort(progress, f"aborted by {flags.abort}", error, now)
        decision = self._act(evaluation, decide(evaluation.look, clock, flags, rules.on_inconclusive), now)
        self._seen = to_see  # only now: a look that failed is made again at the next tick, not a period later
        return decision

    def _abort(self, progress: StepProgress, reason: str, error: TransientError, now: datetime) -> StepDecision:
        """End the step without a look: who takes a release back does not wait for metrics that cannot be read."""
        step = progress.model_copy(update={"ended_at": now, "failed_because": progress.failed_because or reason})
        self._note("aborted", step, reason, {"not_looked": str(error)})
        self._keep(step)
        return StepDecision(Action.ROLL_BACK, reason)

    def _act(self, evaluation: Evaluation, decision: StepDecision, now: datetime) -> StepDecision | None:
        if (evaluation.look, decision) == self._found:
            return None
        ended = decision.action in (Action.ADVANCE, Action.ROLL_BACK)
        step = evaluation.step
        if ended:
            unpassed = decision.action is Action.ADVANCE and evaluation.look.verdict is not Verdict.PASS
            failed = decision.reason if decision.action is Action.ROLL_BACK else step.failed_because
            step = step.model_copy(
                update={
                    "ended_at": now,
                    "failed_because": failed,
                    "approved_by": decision.reason if unpassed else None,
                }
            )
        for line in step.shown:
            log.info("step %d, look %d: %s", step.number, step.looks, line)
        # The ledger first: a watch that is killed in between looks again, and no verdict that counts is missing there.
        self._note("looked", step, decision.reason, look_detail(evaluation, decision))
        self._keep(step)
        self._found = (evaluation.look, decision)
        return decision if ended or (decision.action is Action.ASK and step.question is None) else None

    def _progress(self, state: EndpointState | None) -> StepProgress:
        promotion = state.promotion if state else None
        if promotion is None or promotion.run_id != self._step.run_id:
            raise SupersededError(
                f"{self._step.endpoint}: the promotion of {self._step.run_id} is not under way any more; it was ended "
                "by somebody else. See the ledger."
            )
        found = find_step(promotion.steps, self._step.number)
        if found is None:
            raise SupersededError(
                f"{self._step.endpoint}: step {self._step.number} has not begun. Clear the task that shifts its "
                "traffic."
            )
        return found

    def _keep(self, step: StepProgress) -> None:
        def change(state: EndpointState) -> EndpointState:
            if state.promotion is None or state.promotion.run_id != self._step.run_id:
                return state
            promotion = state.promotion.model_copy(update={"steps": with_step(state.promotion.steps, step)})
            # "Approve now" is about one step; the next one is judged again.
            kept = state if step.ended_at is None else lower_flag(state, "approve_now")
            return kept.model_copy(update={"promotion": promotion})

        self._states.update(self._step.endpoint, change)

    def _note(self, action: str, step: StepProgress, reason: str, detail: dict[str, Any]) -> None:
        subject = f"step {step.number} of {self._step.endpoint}"
        entry = LedgerEntry(action=action, subject=subject, user=self._step.user, reason=reason, detail=detail)
        self._ledger.record(self._step.service, self._step.run_id, self._step.task_id, entry)


def prolong_lease(states: StateStore, step: WatchedStep, lease: Lease | None, now: datetime) -> None:
    """Prolong the endpoint's lease when half of its time is over and it is still the watch's own."""
    if lease and lease.holder == step.holder and lease.expires_at - now < timedelta(seconds=step.lease_seconds / 2):
        states.take_lease(step.endpoint, step.holder, purpose=lease.purpose, seconds=step.lease_seconds)


def step_flags(flags: Flags) -> StepFlags:
    """The state's flags as the step's decision takes them: who asked for what, and why."""
    return StepFlags(
        hold=flags.hold.said if flags.hold else None,
        abort=flags.abort.said if flags.abort else None,
        approve_now=flags.approve_now.said if flags.approve_now else None,
    )


def look_detail(evaluation: Evaluation, decision: StepDecision) -> dict[str, Any]:
    """A look as the ledger has it: counts, intervals of the rates, evidence, requests still needed."""
    look = evaluation.look
    return {
        "look": evaluation.step.looks,
        "window": {"start": evaluation.window.start.isoformat(), "periods": evaluation.window.periods},
        "verdict": str(look.verdict),
        "action": str(decision.action),
        "reasons": list(look.reasons),
        "shown": list(evaluation.step.shown),
        "share": dataclasses.asdict(look.share) if look.share else None,
        "comparisons": [
            {
                "name": each.name,
                "verdict": str(each.verdict),
                "challenger": dataclasses.asdict(each.challenger),
                "champion": dataclasses.asdict(each.champion),
                "challenger_interval": list(each.challenger_interval),
                "champion_interval": list(each.champion_interval),
                "e_value": each.e_value,
                "e_value_needed": each.e_value_needed,
                "rate_to_rule_out": each.rate_to_rule_out,
                "e_value_no_worse": each.e_value_no_worse,
                "e_value_no_worse_needed": each.e_value_no_worse_needed,
                "requests_needed": each.requests_needed,
                "dry_run": each.dry_run,
                "waited_for": each.waited_for,
                "counted": each.counted,
            }
            for each in look.comparisons
        ],
    }


def _as_ended(step: StepProgress) -> StepDecision:
    """What an earlier watch of this step decided."""
    if step.may_go_on:
        return StepDecision(Action.ADVANCE, step.approved_by or "passed")
    return StepDecision(Action.ROLL_BACK, step.failed_because or "the step ended without a pass")
