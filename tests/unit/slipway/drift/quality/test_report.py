"""From tallies to a verdict."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from slipway.drift.quality.measure import WHOLE
from slipway.drift.quality.policy import QualityPolicy
from slipway.drift.quality.report import QualityVerdict, judge_quality
from slipway.drift.quality.tally import Tally, count_binary, count_regression


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


def ranked(positives: list[float], negatives: list[float]) -> Tally:
    scores = np.array(positives + negatives)
    return count_binary(scores, np.array([1.0] * len(positives) + [0.0] * len(negatives)), len(scores))


AREA = (("areaUnderROC", ">=", 0.7),)


def test_an_area_of_a_few_rows_of_a_class_is_no_verdict() -> None:
    for few in (1, 9):
        rest = np.linspace(0.4, 0.6, 500).tolist()
        assert verdict(ranked([0.1] * few, rest), expect=AREA) is QualityVerdict.INCONCLUSIVE
        assert verdict(ranked([0.9] * few, rest), expect=AREA) is QualityVerdict.INCONCLUSIVE
        assert verdict(ranked(rest, [0.9] * few), expect=AREA) is QualityVerdict.INCONCLUSIVE
    assert judge_quality({WHOLE: ranked([0.1], [0.5, 0.6, 0.7])}, policy(expect=AREA), 0.01)[1][0].kept is None


def test_an_area_of_positives_with_one_score_has_no_spread_whatever_rounding_leaves() -> None:
    whole = ranked([0.9] * 12, [0.1] * 700 + [0.95] * 300)
    assert verdict(whole, expect=(("areaUnderROC", ">=", 0.65),)) is QualityVerdict.INCONCLUSIVE
    turned = ranked([0.05] * 300 + [0.9] * 700, [0.1] * 12)
    assert verdict(turned, expect=(("areaUnderROC", ">=", 0.65),)) is QualityVerdict.INCONCLUSIVE


def test_an_area_without_a_fault_is_as_certain_as_its_smaller_class_has_rows() -> None:
    for rows, found in ((10, None), (500, True)):
        whole = ranked(np.linspace(0.6, 0.9, rows).tolist(), np.linspace(0.1, 0.4, 5000).tolist())
        assert judge_quality({WHOLE: whole}, policy(expect=AREA), 0.01)[1][0].kept is found
    reversed_ = ranked(np.linspace(0.1, 0.4, 500).tolist(), np.linspace(0.6, 0.9, 5000).tolist())
    assert verdict(reversed_, expect=AREA) is QualityVerdict.DEGRADED


@pytest.mark.parametrize(
    ("metric", "bound"), [("mae", 0.5), ("mse", 0.5), ("rmse", 0.5), ("brier", 0.1), ("logLoss", 0.5)]
)
def test_means_of_a_few_rows_and_of_equal_errors_prove_nothing_good(metric: str, bound: float) -> None:
    def found(error: float, rows: int) -> QualityVerdict:
        task = "binary" if metric in {"brier", "logLoss"} else "regression"
        scores = np.full(rows, error)
        count = count_binary if task == "binary" else count_regression
        return verdict(count(scores, np.zeros(rows), rows), task=task, expect=((metric, "<=", bound),))

    for rows in (1, 2, 29):
        assert found(0.9, rows) is QualityVerdict.INCONCLUSIVE
        assert found(0.0, rows) is QualityVerdict.INCONCLUSIVE
    assert found(0.9, 1000) is QualityVerdict.DEGRADED, "no answer is better than right"
    unbounded = metric in {"mae", "mse", "rmse"}
    assert found(0.0, 1000) is (QualityVerdict.INCONCLUSIVE if unbounded else QualityVerdict.GOOD)


def test_a_bias_of_equal_errors_is_not_known() -> None:
    whole = count_regression(np.full(1000, 7.0), np.zeros(1000), 1000)
    word, _, slices = judge_quality({WHOLE: whole}, policy(task="regression", expect=(("bias", "<=", 1.0),)), 0.01)
    assert word is QualityVerdict.INCONCLUSIVE
    assert "bias" not in slices[0].metrics


def test_a_slice_of_a_few_rows_of_a_class_breaks_no_bound() -> None:
    whole = ranked(np.linspace(0.3, 0.9, 500).tolist(), np.linspace(0.1, 0.5, 500).tolist())
    part = ranked([0.1] * 5, np.linspace(0.2, 0.5, 100).tolist())
    _, _, slices = judge_quality({WHOLE: whole, ("origin", "EWR"): part}, policy(expect=AREA), 0.01)
    assert slices[1].broken == ()
    many = ranked([0.1] * 50, np.linspace(0.2, 0.5, 100).tolist())
    _, _, slices = judge_quality({WHOLE: whole, ("origin", "EWR"): many}, policy(expect=AREA), 0.01)
    assert slices[1].broken == ("areaUnderROC >= 0.7",)
