"""A step watched from its beginning to its end, by one watch or by several that take over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from slipway.canary.comparison import JudgePolicy, Verdict
from slipway.canary.counts import ArmCounts, ComparisonCounts, PeriodCounts
from slipway.canary.evaluation import StepRules
from slipway.canary.metric_source import CloudWatchMetricSource
from slipway.canary.plan import CanaryPlan
from slipway.canary.progress import Question, StepProgress, find_step
from slipway.canary.step import Action
from slipway.canary.watch import StepWatch, WatchedStep
from slipway.errors import EndpointBusyError, SupersededError, ThrottledError
from slipway.ledger import Ledger
from slipway.state import EndpointState, Flag, Promotion, Recorded, StateStore, VariantShare
from slipway.transition import ask, give_up, raise_flag, resume

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ENDPOINT, RUN = "flights-prod", "run_1"


class FixedRate:
    """A source that counts the same in each period."""

    def __init__(self, requests: int, bad: int, champion_bad: int = 0) -> None:
        self.period = PeriodCounts(ArmCounts(requests, bad), ArmCounts(requests * 4, champion_bad))
        self.asked = 0

    def counts(self, window: Any) -> dict[str, ComparisonCounts]:
        self.asked += 1
        return {"error": ComparisonCounts((self.period,) * window.periods)}

    def describe(self) -> str:
        return "fixed"


class Bench:
    """A promotion with its first step begun, a clock, and the watch of that step."""

    def __init__(self, s3: Any, source: FixedRate, *, on_inconclusive: str = "ask") -> None:
        self.clock = BEGAN
        self.states = StateStore(s3, "bucket", now=lambda: self.clock)
        self.ledger = Ledger(s3, "bucket", now=lambda: self.clock)
        self.source = source
        self.rules = StepRules({"error": JudgePolicy(alpha=0.01)}, 60, 600, on_inconclusive, 10, 0)  # type: ignore[arg-type]
        self.check = lambda: None
        self.questions = 0
        plan = CanaryPlan(
            challenger="b" * 12, champion="a" * 12, weights_pct=(20,), bake_seconds=60, max_hold_seconds=600, alpha=0.06
        )
        promotion = Promotion(
            run_id=RUN,
            release_id="b" * 12,
            model_version=2,
            strategy="canary",
            begun_at=BEGAN,
            plan=plan,
            steps=(StepProgress(number=1, weight_pct=20, began_at=BEGAN),),
            recorded=Recorded(config_name="old", variants={"a" * 12: VariantShare(weight=1, instances=1)}),
        )
        self.change(lambda state: state.model_copy(update={"promotion": promotion}))

    def change(self, change: Any) -> None:
        self.states.update(ENDPOINT, change)

    def watch(self) -> StepWatch:
        step = WatchedStep("flights", ENDPOINT, RUN, "step_1.judge", "ann", 1)
        check = lambda: self.check()  # noqa: E731
        return StepWatch(
            step,
            self.rules,
            self.source,
            states=self.states,
            ledger=self.ledger,
            check_endpoint=check,
            now=lambda: self.clock,
        )

    def run(self, watch: StepWatch, seconds: float, every: float = 5) -> Any:
        """Tick until the step is decided; a question is noted, as the judge's task does when it has told people."""
        end = self.clock + timedelta(seconds=seconds)
        while self.clock < end:
            decision = watch.tick()
            if decision and decision.action is Action.ASK:
                self.ask()
            elif decision:
                return decision
            self.clock += timedelta(seconds=every)
        return None

    @property
    def step(self) -> StepProgress:
        state, _ = self.states.read(ENDPOINT)
        assert state
        assert state.promotion
        found = find_step(state.promotion.steps, 1)
        assert found
        return found

    def ask(self, hours: float = 1) -> None:
        self.questions += 1
        question = Question(asked_at=self.clock, hours=hours)
        self.change(lambda state: ask(state, RUN, 1, question))

    def resume(self) -> None:
        self.change(lambda state: resume(state, at=self.clock))

    def flag(self, name: Any) -> None:
        self.change(lambda state: raise_flag(state, name, Flag(by="ann", at=self.clock)))


def test_a_healthy_step_advances_after_its_bake_and_not_before(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    decision = bench.run(bench.watch(), 300)
    assert decision.action is Action.ADVANCE
    assert bench.clock == BEGAN + timedelta(seconds=60)
    assert (bench.step.verdict, bench.step.may_go_on, bench.step.approved_by) == (Verdict.PASS, True, None)


def test_a_bad_step_rolls_back_at_once_and_stays_failed(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 60))
    decision = bench.run(bench.watch(), 300)
    assert decision.action is Action.ROLL_BACK
    assert bench.clock <= BEGAN + timedelta(seconds=15)
    bench.source = FixedRate(300, 0)
    again = bench.watch().tick()
    assert again is not None
    assert again.action is Action.ROLL_BACK


def test_looks_are_made_only_when_a_period_has_closed(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(30, 0))
    bench.run(bench.watch(), 40, every=1)
    assert bench.source.asked == 4


@pytest.mark.parametrize(
    ("requests", "on_inconclusive", "held"),
    [(300, "ask", True), (1, "roll_back", True), (1, "promote", True), (0, "promote", False), (1, "ask", False)],
    ids=["held after a pass", "held, would go back", "held, would go on", "asks without traffic", "asks"],
)
def test_a_step_that_waits_for_a_person_looks_once_a_period_and_notes_only_what_is_new(
    memory_s3: Any, requests: int, on_inconclusive: str, held: bool
) -> None:
    bench = Bench(memory_s3, FixedRate(requests, 0), on_inconclusive=on_inconclusive)
    if held:
        bench.flag("hold")
    watch = bench.watch()
    bench.run(watch, 700, every=2)
    asked, noted = bench.source.asked, len(bench.ledger.read("flights"))
    assert bench.run(watch, 100, every=2) is None
    assert bench.source.asked == asked + 10, "periods have 10 seconds"
    looks = [record for record in bench.ledger.read("flights") if record.action == "looked"]
    assert len(looks) == noted + (10 if requests else 0), "the same counts are nothing new"
    assert len(looks) == bench.step.looks


def test_a_limit_that_passes_within_a_period_is_seen_at_once(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    bench.rules = replace(bench.rules, bake_seconds=63)
    assert bench.run(bench.watch(), 300, every=1).action is Action.ADVANCE
    assert bench.clock == BEGAN + timedelta(seconds=63)


def test_each_look_is_in_the_ledger_with_what_was_counted(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    bench.run(bench.watch(), 300)
    looks = [record for record in bench.ledger.read("flights") if record.action == "looked"]
    assert len(looks) == bench.step.looks
    compared = looks[0].detail["comparisons"][0]
    assert compared["challenger"]["requests"] == 300 * 6
    assert looks[0].detail["verdict"] == "PASS"


def test_a_watch_that_dies_is_taken_up_by_the_next(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    assert bench.run(bench.watch(), 30) is None
    assert bench.run(bench.watch(), 300).action is Action.ADVANCE


@pytest.mark.parametrize(("flag", "action"), [("abort", Action.ROLL_BACK), ("approve_now", Action.ADVANCE)])
def test_flags_are_obeyed_at_the_next_tick(memory_s3: Any, flag: str, action: Action) -> None:
    bench = Bench(memory_s3, FixedRate(10, 0))
    watch = bench.watch()
    assert bench.run(watch, 20) is None
    bench.flag(flag)
    decision = watch.tick()
    assert decision is not None
    assert decision.action is action
    assert "ann" in decision.reason
    assert bench.step.may_go_on is (action is Action.ADVANCE)
    state, _ = bench.states.read(ENDPOINT)
    assert state is not None
    assert state.flags.approve_now is None


def throttled() -> None:
    raise ThrottledError("slow down")


def test_a_look_that_aws_throttles_is_made_again_at_the_next_tick(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 60))
    bench.clock += timedelta(seconds=20)
    watch = bench.watch()
    bench.check = throttled
    with pytest.raises(ThrottledError):
        watch.tick()
    bench.check = lambda: None
    decision = watch.tick()
    assert decision is not None, "not a period later"
    assert decision.action is Action.ROLL_BACK


def test_an_abort_does_not_wait_for_metrics_that_cannot_be_read(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(10, 0))
    watch = bench.watch()
    assert bench.run(watch, 20) is None
    looks = bench.step.looks
    bench.check = throttled
    bench.flag("abort")
    decision = watch.tick()
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.ROLL_BACK, "aborted by ann")
    assert (bench.step.failed_because, bench.step.ended_at) == ("aborted by ann", bench.clock)
    assert bench.step.looks == looks
    [noted] = [record for record in bench.ledger.read("flights") if record.action == "aborted"]
    assert (noted.reason, noted.detail) == ("aborted by ann", {"not_looked": "slow down"})
    again = bench.watch().tick()
    assert again is not None
    assert again.action is Action.ROLL_BACK


def test_an_abort_does_not_wait_for_a_cloudwatch_that_throttles(memory_s3: Any) -> None:
    cloudwatch = boto3.client("cloudwatch", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    bench = Bench(memory_s3, FixedRate(10, 0))
    metrics: Any = CloudWatchMetricSource(
        cloudwatch, endpoint=ENDPOINT, challenger="b" * 12, champion="a" * 12, latency_slo_ms=800
    )
    bench.source = metrics
    bench.clock += timedelta(seconds=30)
    watch = bench.watch()
    with Stubber(cloudwatch) as answers:
        for _ in range(2):
            answers.add_client_error("get_metric_data", "Throttling", "Rate exceeded", 400)
        with pytest.raises(ThrottledError, match="Rate exceeded"):
            watch.tick()
        bench.flag("abort")
        decision = watch.tick()
    assert decision is not None
    assert (decision.action, decision.reason) == (Action.ROLL_BACK, "aborted by ann")


@pytest.mark.parametrize("flag", ["hold", "approve_now"])
def test_other_wishes_wait_for_the_metrics(memory_s3: Any, flag: str) -> None:
    bench = Bench(memory_s3, FixedRate(10, 0))
    watch = bench.watch()
    assert bench.run(watch, 20) is None
    bench.check = throttled
    bench.flag(flag)
    with pytest.raises(ThrottledError):
        watch.tick()
    assert bench.step.ended_at is None


def test_a_hold_waits_beyond_every_limit(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    bench.flag("hold")
    assert bench.run(bench.watch(), 3600, every=60) is None


@pytest.mark.parametrize(("rule", "action"), [("roll_back", Action.ROLL_BACK), ("promote", Action.ADVANCE)])
def test_an_unsettled_step_ends_by_the_specs_rule(memory_s3: Any, rule: str, action: Action) -> None:
    bench = Bench(memory_s3, FixedRate(1, 0), on_inconclusive=rule)
    decision = bench.run(bench.watch(), 900)
    assert decision.action is action
    assert bench.clock >= BEGAN + timedelta(seconds=660)


def test_a_question_that_nobody_answers_ends_in_a_rollback(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(1, 0))
    decision = bench.run(bench.watch(), 2 * 3600, every=30)
    assert decision.action is Action.ROLL_BACK
    assert "nobody answered within 1 h" in decision.reason
    assert bench.questions == 1
    assert bench.step.question == Question(asked_at=BEGAN + timedelta(seconds=660), hours=1)


def test_people_are_asked_until_the_state_has_the_question_and_by_no_watch_after_that(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(1, 0))
    bench.clock += timedelta(seconds=660)
    for _ in range(2):  # the first one's task was killed before it told anybody
        decision = bench.watch().tick()
        assert decision is not None
        assert decision.action is Action.ASK
        assert "still INCONCLUSIVE at the end of the hold" in decision.reason
    bench.ask()
    assert bench.run(bench.watch(), 300) is None
    assert bench.run(bench.watch(), 300) is None
    assert bench.questions == 1


def test_who_could_not_be_asked_in_time_is_asked_late_and_has_all_the_time(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(0, 0))
    bench.clock += timedelta(hours=80)  # no triggerer was up
    decision = bench.run(bench.watch(), 3600 * 3, every=60)
    assert decision.action is Action.ROLL_BACK
    assert bench.clock == BEGAN + timedelta(hours=81)


@pytest.mark.parametrize(("flag", "action"), [("abort", Action.ROLL_BACK), ("approve_now", Action.ADVANCE)])
def test_a_question_is_answered_by_a_wish(memory_s3: Any, flag: str, action: Action) -> None:
    bench = Bench(memory_s3, FixedRate(1, 0))
    assert bench.run(bench.watch(), 900) is None
    assert bench.questions == 1
    bench.flag(flag)
    assert bench.run(bench.watch(), 5).action is action


def test_a_step_that_settles_while_people_are_asked_goes_on(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(1, 0))
    watch = bench.watch()
    assert bench.run(watch, 900) is None
    bench.source.period = FixedRate(300, 0).period
    assert bench.run(watch, 60).action is Action.ADVANCE
    assert bench.step.approved_by is None


def test_time_on_hold_is_not_time_without_an_answer(memory_s3: Any) -> None:
    """Held for longer than any limit before anything was asked, then again while people are asked."""
    bench = Bench(memory_s3, FixedRate(0, 0))
    assert bench.run(bench.watch(), 300) is None
    bench.flag("hold")
    assert bench.run(bench.watch(), 3 * 3600, every=600) is None
    bench.resume()
    assert bench.run(bench.watch(), 355) is None
    assert bench.questions == 0, "660 seconds without those on hold are not over"
    assert bench.run(bench.watch(), 600) is None
    assert bench.questions == 1
    bench.flag("hold")
    assert bench.run(bench.watch(), 3 * 3600, every=600) is None
    bench.resume()
    assert bench.run(bench.watch(), 2990) is None
    decision = bench.run(bench.watch(), 60)
    assert decision.action is Action.ROLL_BACK
    assert "nobody answered within 1 h" in decision.reason


def test_time_on_hold_is_not_held_against_a_step_that_the_spec_would_roll_back(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(1, 0), on_inconclusive="roll_back")
    bench.flag("hold")
    assert bench.run(bench.watch(), 7200, every=60) is None
    bench.resume()
    assert bench.run(bench.watch(), 655) is None
    assert bench.run(bench.watch(), 10).action is Action.ROLL_BACK


def test_without_traffic_nothing_is_promoted_whatever_the_rule(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(0, 0), on_inconclusive="promote")
    assert bench.run(bench.watch(), 2 * 3600, every=30).action is Action.ROLL_BACK


def test_a_promotion_that_somebody_ended_ends_the_watch(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    bench.change(lambda state: give_up(state, run_id=RUN, at=bench.clock, by="ann", reason="undeployed"))
    with pytest.raises(SupersededError, match="not under way any more"):
        bench.watch().tick()


def test_somebody_elses_change_of_the_endpoint_ends_the_watch_before_it_judges(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))

    def changed() -> None:
        raise EndpointBusyError("somebody else changed the weights")

    bench.check = changed
    bench.clock += timedelta(seconds=30)
    with pytest.raises(EndpointBusyError):
        bench.watch().tick()
    assert bench.source.asked == 0


def test_the_state_of_another_endpoint_is_not_touched(memory_s3: Any) -> None:
    bench = Bench(memory_s3, FixedRate(300, 0))
    bench.states.update("other-prod", lambda state: state.model_copy(update={"history": ()}))
    bench.run(bench.watch(), 300)
    other, _ = bench.states.read("other-prod")
    assert other in (None, EndpointState(endpoint="other-prod"))
