"""Captured answers of two variants, and outcomes as they arrive in a folder of S3."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.canary.comparison import Verdict
from slipway.canary.counts import ArmCounts, ComparisonCounts
from slipway.canary.judge import Look, judge
from slipway.canary.outcome_source import OutcomeMetricSource, OutcomeRules
from slipway.canary.plan import CanaryPlan
from slipway.canary.policy import judge_policies
from slipway.canary.window import MetricWindow
from slipway.drift.quality.policy import QualityPolicy, quality_policy
from slipway.drift.schema import Column, ModelSchema
from slipway.drift.store import DriftStore
from slipway.spec import MonitorSpec, PromoteSpec
from tests.unit.slipway.drift.capture.records import record

START = datetime(2026, 3, 1, 12, 58, tzinfo=UTC)
WINDOW = MetricWindow(START, 60, 10)
CHALLENGER, CHAMPION = "b" * 12, "a" * 12
SCHEMA = ModelSchema((Column("flight", "long"), Column("x", "double")), (Column("prediction", "double"),))
FOLDER = "labels/flights/"


def rules(**quality: Any) -> QualityPolicy:
    return quality_policy(MonitorSpec.model_validate({"quality": quality}))


class Canary:
    """Calls of two variants and the outcomes of some of them, as SageMaker and the service's owners lay them down."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        s3.now = START

    def call(self, variant: str, at: datetime, answers: Iterable[Any], *, first: int = 0, rows: int = 1) -> list[str]:
        """One call each second; the ids name variant and number."""
        ids, lines = [], []
        for number, answer in enumerate(answers, start=first):
            ids.append(f"{variant[0]}{number}")
            request = {"dataframe_split": {"columns": ["flight", "x"], "data": [[number, 1.0]] * rows}}
            moment = at + timedelta(seconds=number - first)
            answered = {"predictions": [answer] * rows}
            lines.append(record(request, answered, at=f"{moment:%Y-%m-%dT%H:%M:%SZ}", inference_id=ids[-1]))
        name = f"captures/flights-prod/{variant}/{at:%Y/%m/%d/%H}/{at:%M-%S}-000-{first}.jsonl"
        self._put(name, lines)
        return ids

    def outcomes(self, arrived: datetime, labels: dict[str, Any], *, name: str = "", **more: Any) -> None:
        self.s3.now = arrived
        lines = [json.dumps({"inference_id": key, "label": label, **more}) for key, label in labels.items()]
        self._put(f"{FOLDER}{name or arrived.strftime('%H-%M-%S')}.jsonl", lines)

    def _put(self, key: str, lines: list[str]) -> None:
        body = "".join(f"{line}\n" for line in lines).encode()
        self.s3.put_object(Bucket="bucket", Key=key, Body=body, ContentType="application/jsonlines")

    def source(self, policy: QualityPolicy | None = None, **options: Any) -> OutcomeMetricSource:
        tolerance = options.pop("tolerance", None)
        return OutcomeMetricSource(
            DriftStore(self.s3, "bucket", "flights", "flights-prod"),
            self.s3,
            OutcomeRules(f"s3://bucket/{FOLDER}", policy or rules(), tolerance),
            challenger=(CHALLENGER, SCHEMA),
            champion=(CHAMPION, SCHEMA),
            **options,
        )


@pytest.fixture
def canary(memory_s3: Any) -> Canary:
    return Canary(memory_s3)


def sums(counts: ComparisonCounts) -> tuple[ArmCounts, ArmCounts]:
    return counts.challenger, counts.champion


def test_answers_are_joined_with_their_outcomes_by_inference_id(canary: Canary) -> None:
    new = canary.call(CHALLENGER, START, [0.9, 0.9, 0.1, 0.1])
    old = canary.call(CHAMPION, START, [0.9, 0.1, 0.9])
    canary.outcomes(START + timedelta(minutes=2), {new[0]: 1, new[1]: 0, new[2]: 0, old[0]: 1, old[1]: 1, "other": 1})
    assert sums(canary.source().counts(WINDOW)["wrong"]) == (ArmCounts(3, 1), ArmCounts(2, 1))


def test_answers_are_joined_with_their_outcomes_by_key_whichever_variant_gave_the_latest(canary: Canary) -> None:
    canary.call(CHAMPION, START, [10.0, 20.0], first=7)
    canary.call(CHALLENGER, START + timedelta(seconds=30), [14.0], first=7)
    lines = [json.dumps({"flight": flight, "delay": 10.4}) for flight in (7, 8)]
    canary.s3.now = START + timedelta(minutes=1)
    canary._put(f"{FOLDER}x.jsonl", lines)
    source = canary.source(rules(task="regression", label="delay", key=["flight"]), tolerance=0.5)
    assert sums(source.counts(WINDOW)["wrong"]) == (ArmCounts(1, 1), ArmCounts(1, 1))


def test_of_a_request_of_many_rows_the_first_counts(canary: Canary) -> None:
    (call,) = canary.call(CHALLENGER, START, [0.9], rows=50)
    canary.s3.now = START + timedelta(minutes=1)
    lines = [json.dumps({"inference_id": call, "row": row, "label": 0}) for row in range(50)]
    canary._put(f"{FOLDER}x.jsonl", lines)
    assert canary.source().counts(WINDOW)["wrong"].challenger == ArmCounts(1, 1)


def test_an_outcome_counts_when_the_period_of_its_arrival_is_closed(canary: Canary) -> None:
    ids = canary.call(CHALLENGER, START, [0.9, 0.9]) + canary.call(CHAMPION, START, [0.9, 0.9])
    canary.outcomes(START + timedelta(seconds=90), {ids[0]: 0, ids[2]: 1})
    canary.outcomes(START + timedelta(seconds=150), {ids[1]: 1, ids[3]: 1})
    source = canary.source()
    looks = [source.counts(MetricWindow(START, 60, periods))["wrong"] for periods in (1, 2, 3)]
    assert [len(each.periods) for each in looks] == [0, 1, 2]
    assert looks[2].periods[0] == looks[1].periods[0]


def test_a_later_outcome_of_the_same_call_corrects_it(canary: Canary) -> None:
    (call,) = canary.call(CHALLENGER, START, [0.9])
    canary.outcomes(START + timedelta(seconds=70), {call: 0})
    canary.outcomes(START + timedelta(seconds=130), {call: 1})
    source = canary.source()
    assert source.counts(MetricWindow(START, 60, 2))["wrong"].challenger == ArmCounts(1, 1)
    assert source.counts(MetricWindow(START, 60, 3))["wrong"].challenger == ArmCounts(1, 0)


def test_each_file_is_read_once_and_again_when_it_was_written_anew(canary: Canary) -> None:
    ids = canary.call(CHALLENGER, START, [0.9] * 3)
    canary.outcomes(START + timedelta(seconds=30), {ids[0]: 1}, name="day")
    source = canary.source()
    read = lambda: sum(operation == "get" for operation, _ in canary.s3.calls)  # noqa: E731
    assert source.counts(WINDOW)["wrong"].challenger.requests == 1
    before = read()
    assert source.counts(WINDOW)["wrong"].challenger.requests == 1
    assert read() == before
    canary.outcomes(START + timedelta(seconds=40), {ids[0]: 1, ids[1]: 1}, name="day")
    assert source.counts(WINDOW)["wrong"].challenger.requests == 2
    assert read() == before + 1


def test_a_file_that_cannot_be_read_is_told_once_and_the_others_count(
    canary: Canary, caplog: pytest.LogCaptureFixture
) -> None:
    (call,) = canary.call(CHALLENGER, START, [0.9])
    canary.outcomes(START + timedelta(seconds=30), {call: 1})
    canary._put(f"{FOLDER}bad.jsonl", ['{"id": 1}'])
    source = canary.source()
    for _ in range(2):
        assert source.counts(WINDOW)["wrong"].challenger == ArmCounts(1, 0)
    assert len([each for each in caplog.records if "bad.jsonl cannot be read" in each.getMessage()]) == 1


def test_outcomes_of_earlier_steps_go_on_counting_and_in_the_bake_they_alone_do(canary: Canary) -> None:
    first, bake = MetricWindow(START, 60, 2), MetricWindow(START + timedelta(minutes=5), 60, 3)
    ids = canary.call(CHALLENGER, START, [0.9]) + canary.call(CHAMPION, START, [0.9])
    late = canary.call(CHALLENGER, bake.start, [0.9], first=100)
    canary.outcomes(bake.start + timedelta(seconds=70), {ids[0]: 0, ids[1]: 1, late[0]: 0})
    both = canary.source(steps=[first]).counts(bake)["wrong"]
    assert [each.challenger.requests for each in both.periods] == [1, 1]
    alone = canary.source(steps=[first], together=False).counts(bake)["wrong"]
    assert sums(alone) == (ArmCounts(1, 1), ArmCounts(1, 0))
    assert alone.together, "the champion had its part of the calls in the same step"


def test_without_outcomes_calls_or_periods_nothing_is_counted(canary: Canary) -> None:
    assert canary.source().counts(WINDOW)["wrong"].periods == ()
    canary.outcomes(START + timedelta(seconds=30), {"b0": 1})
    assert canary.source().counts(WINDOW)["wrong"].periods == ()
    canary.call(CHALLENGER, START, [0.9])
    assert canary.source().counts(MetricWindow(START, 60, 0))["wrong"].periods == ()
    assert canary.source(together=False).counts(WINDOW)["wrong"].periods == ()
    assert canary.source().counts(WINDOW)["wrong"].challenger == ArmCounts(1, 0)
    assert canary.source().describe() == f"outcomes in s3://bucket/{FOLDER}"


PLAN = CanaryPlan(
    challenger=CHALLENGER,
    champion=CHAMPION,
    weights_pct=(50,),
    bake_seconds=60,
    max_hold_seconds=600,
    alpha=0.05,
    outcomes=True,
)
PROMOTE = PromoteSpec.model_validate({"weights_pct": [50], "metrics": {"wrong": {}}})


def look(canary: Canary, step: int = 1, **options: Any) -> Look:
    policies = {name: each for name, each in judge_policies(PROMOTE, PLAN, step).items() if name == "wrong"}
    assert policies, "the bake is judged by outcomes, too"
    return judge(dict(canary.source(**options).counts(WINDOW)), policies, planned_share=None)


@pytest.mark.parametrize(("wrong_share", "verdict"), [(0.2, Verdict.NO_DATA), (0.5, Verdict.FAIL)])
def test_the_judge_decides_by_outcomes(canary: Canary, wrong_share: float, verdict: Verdict) -> None:
    """NO_DATA: nothing that a step waits for was judged here; see the judge's own tests for a pass."""
    chance = random.Random(3)
    labels: dict[str, int] = {}
    for variant, share in ((CHALLENGER, wrong_share), (CHAMPION, 0.2)):
        ids = canary.call(variant, START, [0.9] * 400)
        labels |= {call: int(chance.random() >= share) for call in ids}
    canary.outcomes(START + timedelta(minutes=8), labels)
    assert look(canary).verdict is verdict
    steps = [MetricWindow(START, 60, 7)]
    assert look(canary, 2, steps=steps, together=False).verdict is verdict


def test_outcomes_are_judged_only_when_plan_and_spec_have_them() -> None:
    assert "wrong" in judge_policies(PROMOTE, PLAN, 1)
    assert "wrong" not in judge_policies(PROMOTE, PLAN.model_copy(update={"outcomes": False}), 1)
    assert "wrong" not in judge_policies(PromoteSpec(), PLAN, 1)
    waited = PromoteSpec.model_validate({"metrics": {"wrong": {"min_outcomes": 300}}})
    policy = judge_policies(waited, PLAN, 1)["wrong"]
    assert (policy.min_requests, policy.waited_for) == (300, True)
    assert judge_policies(PROMOTE, PLAN, 1)["wrong"].waited_for is False
