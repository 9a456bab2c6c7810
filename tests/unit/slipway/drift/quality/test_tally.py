"""Metrics from sums, against scikit-learn's from the rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from slipway.drift.quality.interval import proportion
from slipway.drift.quality.tally import (
    SCORE_BINS,
    Tally,
    count_binary,
    count_classes,
    count_regression,
    metrics_of,
)

ROWS = st.lists(st.tuples(st.integers(0, SCORE_BINS - 1), st.booleans()), min_size=2, max_size=60)


@settings(deadline=None)
@given(ROWS)
def test_binary_metrics_are_those_of_the_rows(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([(place + 0.5) / SCORE_BINS for place, _ in rows])
    outcomes = np.array([float(late) for _, late in rows])
    found = metrics_of(count_binary(scores, outcomes, len(rows)), "binary")
    assert found["accuracy"].value == pytest.approx(sk.accuracy_score(outcomes, scores >= 0.5))
    assert found["brier"].value == pytest.approx(np.mean((scores - outcomes) ** 2))
    assert found["logLoss"].value == pytest.approx(sk.log_loss(outcomes, scores, labels=[0, 1]))
    if len(set(outcomes)) == 2:
        assert found["areaUnderROC"].value == pytest.approx(sk.roc_auc_score(outcomes, scores))
        assert found["recall"].value == pytest.approx(sk.recall_score(outcomes, scores >= 0.5))
    else:
        assert "areaUnderROC" not in found


@settings(deadline=None)
@given(ROWS, st.integers(0, 60))
def test_tallies_add_up(rows: list[tuple[int, bool]], cut: int) -> None:
    def tally(part: list[tuple[int, bool]]) -> Tally:
        scores = np.array([(place + 0.5) / SCORE_BINS for place, _ in part])
        return count_binary(scores, np.array([float(late) for _, late in part]), len(part) + 1)

    parts, whole = tally(rows[:cut]).merge(tally(rows[cut:])), tally(rows)
    assert (parts.calls, parts.rows) == (whole.calls + 1, whole.rows)
    assert (parts.scores == whole.scores).all()
    assert parts.sums == pytest.approx(whole.sums)
    assert tally(rows[cut:]).merge(tally(rows[:cut])).sums == pytest.approx(parts.sums)


def test_regression_metrics_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    truth, answers = rng.normal(size=300), rng.normal(size=300)
    found = metrics_of(count_regression(answers, truth, 300), "regression")
    assert found["mae"].value == pytest.approx(sk.mean_absolute_error(truth, answers))
    assert found["mse"].value == pytest.approx(sk.mean_squared_error(truth, answers))
    assert found["rmse"].value == pytest.approx(math.sqrt(found["mse"].value))
    assert found["bias"].value == pytest.approx(np.mean(answers - truth))


def test_what_is_no_number_or_no_outcome_does_not_count() -> None:
    assert count_regression(np.array([1.0, np.nan]), np.array([1.0, 1.0]), 5).rows == 1
    assert count_binary(np.array([0.1, 0.2, np.nan]), np.array([1.0, 7.0, 0.0]), 5).rows == 1
    assert count_classes(["a", None, "b"], ["a", "b", "c"], 5).sums == {"hits": 1.0}
    assert metrics_of(Tally(calls=9), "binary") == {}


def test_wilson_interval_of_a_published_example() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe, Statistics in Medicine 17, 1998, table I)."""
    assert proportion(81, 263).interval(0.05) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("name", ["areaUnderROC", "brier", "accuracy"])
def test_intervals_miss_the_truth_as_often_as_they_say(name: str) -> None:
    """Scores uniform and outcomes drawn with the score as chance: every metric's true value is known."""
    truth = {"areaUnderROC": 5 / 6, "brier": 1 / 6, "accuracy": 3 / 4}[name]
    rng, missed, repeats = np.random.default_rng(3), 0, 600
    for _ in range(repeats):
        scores = rng.uniform(size=300)
        outcomes = (rng.uniform(size=300) < scores).astype(float)
        low, high = metrics_of(count_binary(scores, outcomes, 300), "binary")[name].interval(0.1)
        missed += not low <= truth <= high
    assert abs(missed / repeats - 0.1) < 4 * math.sqrt(0.09 / repeats)


NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=29)


@settings(deadline=None)
@given(NUMBERS)
def test_means_of_fewer_than_thirty_rows_may_be_anything(errors: list[float]) -> None:
    found = metrics_of(count_regression(np.array(errors), np.zeros(len(errors)), len(errors)), "regression")
    assert {name: each.interval(0.05)[1] for name, each in found.items()} == dict.fromkeys(found, math.inf)
    assert [each.interval(0.05)[0] for each in found.values()] == [-math.inf, 0.0, 0.0, 0.0]


@settings(deadline=None)
@given(ROWS)
def test_an_area_is_never_known_better_than_its_classes_allow(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([(place + 0.5) / SCORE_BINS for place, _ in rows])
    outcomes = np.array([float(late) for _, late in rows])
    area = metrics_of(count_binary(scores, outcomes, len(rows)), "binary").get("areaUnderROC")
    fewer = int(min(outcomes.sum(), len(rows) - outcomes.sum()))
    assert (area is None) == (fewer == 0)
    if area is not None:
        low, high = area.interval(0.01)
        assert low <= area.value <= high
        assert (high - low == 1) if fewer < 10 else (high > low)
