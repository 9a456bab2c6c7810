"""Captured answers of two variants, from objects as SageMaker lays them down."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from slipway.canary.answer_counts import MIN_ANSWERS
from slipway.canary.capture_source import CaptureMetricSource, JoinedMetricSource
from slipway.canary.comparison import Verdict
from slipway.canary.counts import ArmCounts, ComparisonCounts
from slipway.canary.judge import judge
from slipway.canary.metric_source import ReferenceMetricSource
from slipway.canary.plan import ALPHA_SHARES, CanaryPlan
from slipway.canary.policy import judge_policies
from slipway.canary.window import MetricWindow
from slipway.spec import PromoteSpec
from tests.unit.slipway.drift.capture.records import record

START = datetime(2026, 3, 1, 12, 58, tzinfo=UTC)
WINDOW = MetricWindow(START, 60, 5)
CHALLENGER, CHAMPION = "b" * 12, "a" * 12
ROW = {"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}


class Captures:
    """Writes capture objects, and counts what is read of them."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3

    def write(self, variant: str, at: datetime, answers: Iterable[Any], *, every_seconds: float = 0.2) -> None:
        hours: dict[str, list[tuple[datetime, str]]] = {}
        for number, answer in enumerate(answers):
            moment = at + timedelta(seconds=number * every_seconds)
            line = record(ROW, {"predictions": [answer]}, at=f"{moment:%Y-%m-%dT%H:%M:%SZ}")
            hours.setdefault(f"{moment:%Y/%m/%d/%H}", []).append((moment, line))
        for hour, lines in hours.items():
            name = f"{lines[0][0]:%M-%S}-000-{variant[0]}.jsonl"
            body = "".join(f"{line}\n" for _, line in lines).encode()
            key = f"captures/flights-prod/{variant}/{hour}/{name}"
            self.s3.put_object(Bucket="bucket", Key=key, Body=body, ContentType="application/jsonlines")

    @property
    def reads(self) -> int:
        return sum(operation == "get" for operation, _ in self.s3.calls)

    def source(self) -> CaptureMetricSource:
        return CaptureMetricSource(self.s3, "bucket", endpoint="flights-prod", challenger=CHALLENGER, champion=CHAMPION)


@pytest.fixture
def captures(memory_s3: Any) -> Captures:
    return Captures(memory_s3)


def sums(counts: ComparisonCounts) -> tuple[ArmCounts, ArmCounts]:
    return counts.challenger, counts.champion


def test_calls_are_counted_in_the_periods_of_their_own_time(captures: Captures) -> None:
    captures.write(CHALLENGER, START, [0.5, None] * 30, every_seconds=1)
    captures.write(CHAMPION, START + timedelta(seconds=90), [0.5] * 60, every_seconds=1)
    answer = captures.source().counts(WINDOW)["answer"]
    assert [period.challenger for period in answer.periods] == [ArmCounts(60, 30), *[ArmCounts(0, 0)] * 4]
    assert [period.champion.requests for period in answer.periods] == [0, 30, 30, 0, 0]


def test_calls_outside_the_window_do_not_count_though_their_object_is_read(captures: Captures) -> None:
    captures.write(CHALLENGER, START - timedelta(seconds=30), [0.5] * 360, every_seconds=1)
    answer = captures.source().counts(WINDOW)["answer"]
    assert answer.challenger.requests == 300, "30 before, 30 after; the rest spans two hours"


def test_each_object_is_read_once_and_a_late_one_at_the_next_look(captures: Captures) -> None:
    captures.write(CHALLENGER, START, [0.5] * 10)
    captures.write(CHAMPION, START, [0.5] * 10)
    source = captures.source()
    source.counts(WINDOW)
    assert captures.reads == 2
    captures.write(CHALLENGER, START + timedelta(seconds=61), [None] * 10)
    assert sums(source.counts(WINDOW)["answer"]) == (ArmCounts(20, 10), ArmCounts(10, 0))
    assert captures.reads == 3


def test_without_captures_there_are_no_requests(captures: Captures) -> None:
    counts = captures.source().counts(WINDOW)
    assert {name: len(each.periods) for name, each in counts.items()} == {"answer": 5, "unlike": 5}
    assert all(sums(each) == (ArmCounts(0, 0), ArmCounts(0, 0)) for each in counts.values())
    assert captures.source().counts(MetricWindow(START, 60, 0))["answer"].periods == ()


def test_the_tails_are_the_champions_of_before_and_only_when_it_has_enough_answers(captures: Captures) -> None:
    rng = np.random.default_rng(1)
    captures.write(CHAMPION, START, rng.normal(size=MIN_ANSWERS), every_seconds=0.1)
    captures.write(CHAMPION, START + timedelta(seconds=61), rng.normal(size=500), every_seconds=0.1)
    captures.write(CHALLENGER, START, rng.normal(9, size=100), every_seconds=0.1)
    captures.write(CHALLENGER, START + timedelta(seconds=61), rng.normal(9, size=100), every_seconds=0.1)
    unlike = captures.source().counts(WINDOW)["unlike"]
    assert unlike.periods[0].challenger == ArmCounts(0, 0)
    assert unlike.periods[1].challenger == ArmCounts(100, 100)
    assert unlike.periods[1].champion.requests == 500
    assert unlike.periods[1].champion.rate < 0.08


def test_answers_that_are_no_numbers_are_not_compared_as_numbers(captures: Captures) -> None:
    for variant in (CHALLENGER, CHAMPION):
        captures.write(variant, START, ["yes", "no"] * 300)
    assert sums(captures.source().counts(WINDOW)["unlike"]) == (ArmCounts(0, 0), ArmCounts(0, 0))


PLAN = CanaryPlan(
    challenger=CHALLENGER,
    champion=CHAMPION,
    weights_pct=(50,),
    bake_seconds=60,
    max_hold_seconds=600,
    alpha=0.05,
    source="captures",
)
PROMOTE = PromoteSpec.model_validate(
    {"weights_pct": [50], "min_requests": 200, "metrics": {"source": "captures", "dry_run": []}}
)


def look(captures: Captures, *, step: int = 1) -> Any:
    policies = judge_policies(PROMOTE, PLAN, step)
    counts = captures.source().counts(WINDOW)
    return judge({name: counts[name] for name in policies}, policies, planned_share=0.5 if step == 1 else None)


def answers(seed: int, **how: float) -> list[Any]:
    rng = np.random.default_rng(seed)
    missing = rng.random(1400) < how.get("missing", 0.0)
    numbers = rng.normal(how.get("mean", 0.0), how.get("spread", 1.0), 1400)
    return [None if gone else float(number) for gone, number in zip(missing, numbers, strict=True)]


@pytest.mark.parametrize(
    ("challenger", "verdict", "failed"),
    [
        ({}, Verdict.PASS, []),
        ({"mean": 0.1}, Verdict.PASS, []),
        ({"missing": 0.03}, Verdict.FAIL, ["answer"]),
        ({"mean": 3.0}, Verdict.FAIL, ["unlike"]),
        ({"spread": 4.0}, Verdict.FAIL, ["unlike"]),
    ],
    ids=["alike", "a little other", "missing answers", "other answers", "wider answers"],
)
def test_the_judge_decides_by_answers(
    captures: Captures, challenger: dict[str, float], verdict: Verdict, failed: list[str]
) -> None:
    captures.write(CHAMPION, START, answers(1))
    captures.write(CHALLENGER, START, answers(2, **challenger))
    result = look(captures)
    assert result.verdict is verdict, result.reasons
    assert [each.name for each in result.comparisons if each.verdict is Verdict.FAIL] == failed


def test_healthy_answers_are_judged_unlike_no_more_often_than_alpha_allows(captures: Captures) -> None:
    for seed in range(40):
        captures.s3.objects.clear()
        captures.write(CHAMPION, START, answers(seed * 2))
        captures.write(CHALLENGER, START, answers(seed * 2 + 1))
        assert look(captures).verdict is not Verdict.FAIL


def test_at_full_weight_the_answers_are_held_against_those_of_before(captures: Captures) -> None:
    assert set(judge_policies(PROMOTE, PLAN, 2)) == {"answer"}
    captures.write(CHAMPION, START, answers(1))
    captures.write(CHALLENGER, START + timedelta(hours=2), answers(2, missing=0.05))
    now = MetricWindow(START + timedelta(hours=2), 60, 5)
    counts = ReferenceMetricSource(captures.source(), [WINDOW]).counts(now)
    policies = judge_policies(PROMOTE, PLAN, 2)
    assert judge({"answer": counts["answer"]}, policies, planned_share=None).verdict is Verdict.FAIL


def test_sources_are_joined_under_their_own_names(captures: Captures) -> None:
    class Errors:
        def counts(self, window: MetricWindow) -> dict[str, ComparisonCounts]:
            return {"error": ComparisonCounts(())}

        def describe(self) -> str:
            return "errors"

    joined = JoinedMetricSource(Errors(), captures.source())
    assert set(joined.counts(WINDOW)) == {"error", "answer", "unlike"}
    assert joined.describe() == "errors; captures in s3://bucket/captures/flights-prod/"


def test_the_comparisons_of_each_source_share_alpha() -> None:
    for shares in ALPHA_SHARES.values():
        assert sum(shares.values()) == pytest.approx(1.0)
