"""From tallies to a verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from slipway.drift.quality.measure import WHOLE
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.quality.report import QualityVerdict, judge_quality
from slipway.drift.quality.tally import Tally, count_binary


def policy(**changes: Any) -> QualityPolicy:
    facts: dict[str, Any] = {
        "task": "binary",
        "label": "late",
        "key": (),
        "prediction": None,
        "wait": timedelta(hours=1),
        "slices": (),
        "expect": (("accuracy", ">=", 0.8),),
        "min_coverage": 0.5,
    }
    return QualityPolicy(**{**facts, **changes})


def tally(right: int, wrong: int, *, calls: int | None = None) -> Tally:
    scores = np.array([0.9] * right + [0.1] * wrong)
    return count_binary(scores, np.ones(right + wrong), right + wrong if calls is None else calls)


def verdict(found: Tally, **changes: Any) -> QualityVerdict:
    return judge_quality({WHOLE: found}, policy(**changes), 0.01)[0]


def test_a_bound_is_kept_or_broken_only_when_the_interval_says_so() -> None:
    assert verdict(tally(950, 50)) is QualityVerdict.GOOD
    assert verdict(tally(600, 400)) is QualityVerdict.DEGRADED
    assert verdict(tally(16, 4)) is QualityVerdict.INCONCLUSIVE
    assert verdict(tally(600, 400), expect=(("brier", "<=", 0.1),)) is QualityVerdict.DEGRADED
    assert verdict(tally(950, 50), expect=(("brier", "<=", 0.1),)) is QualityVerdict.GOOD


def test_few_known_outcomes_are_no_verdict_about_all() -> None:
    assert verdict(tally(600, 400, calls=3000)) is QualityVerdict.INCONCLUSIVE
    assert verdict(tally(950, 50, calls=3000)) is QualityVerdict.INCONCLUSIVE
    assert verdict(tally(950, 50, calls=3000), min_coverage=0.2) is QualityVerdict.GOOD


def test_no_outcomes_and_no_calls_are_states_of_their_own() -> None:
    assert verdict(Tally(calls=10)) is QualityVerdict.NO_LABELS
    assert verdict(Tally()) is QualityVerdict.NO_DATA


def test_without_bounds_nothing_is_judged_but_all_is_shown() -> None:
    word, bounds, slices = judge_quality({WHOLE: tally(90, 10)}, policy(expect=()), 0.01)
    assert (word, bounds) == (QualityVerdict.INCONCLUSIVE, ())
    shown = slices[0].metrics["accuracy"]
    assert shown.low < shown.value == 0.9 < shown.high


def test_a_bad_slice_is_named_though_the_whole_is_good() -> None:
    parts = {WHOLE: tally(950, 50), ("origin", "EWR"): tally(50, 50), ("origin", "JFK"): tally(900, 0)}
    word, _, slices = judge_quality(parts, policy(), 0.01)
    assert word is QualityVerdict.GOOD
    assert [(each.value, each.broken) for each in slices[1:]] == [("JFK", ()), ("EWR", ("accuracy >= 0.8",))]


def test_a_small_slice_says_nothing() -> None:
    parts = {WHOLE: tally(950, 50), ("origin", "X"): tally(0, 20)}
    assert judge_quality(parts, policy(), 0.01)[2][1].metrics == {}
