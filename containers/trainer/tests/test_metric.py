"""Our metrics against scikit-learn's, and intervals against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

from slipway_trainer.bootstrap import intervals, paired_interval
from slipway_trainer.metric import Predictions, measure


def binary(truth, score) -> Predictions:
    truth, score = np.asarray(truth, float), np.asarray(score, float)
    return Predictions(truth, (score > 0.5).astype(float), np.c_[1 - score, score])


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=4, max_size=80))
def test_binary_metrics_are_those_of_scikit_learn_with_ties(rows):
    truth = np.array([int(late) for late, _ in rows])
    if len(set(truth.tolist())) < 2:
        return
    score = np.array([number for _, number in rows]) / 20
    found = measure("binary", binary(truth, score))
    predicted = (score > 0.5).astype(int)
    assert found["areaUnderROC"] == pytest.approx(theirs.roc_auc_score(truth, score))
    assert found["areaUnderPR"] == pytest.approx(theirs.average_precision_score(truth, score))
    assert found["brier"] == pytest.approx(theirs.brier_score_loss(truth, score))
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(truth, predicted))
    assert found["precision"] == pytest.approx(theirs.precision_score(truth, predicted, zero_division=0))
    assert found["recall"] == pytest.approx(theirs.recall_score(truth, predicted))
    assert found["f1"] == pytest.approx(theirs.f1_score(truth, predicted, zero_division=0))


def test_multiclass_and_regression_are_those_of_scikit_learn():
    random = np.random.default_rng(1)
    chances = random.dirichlet([1, 1, 1], 200)
    truth, predicted = random.integers(0, 3, 200), chances.argmax(1)
    found = measure("multiclass", Predictions(truth.astype(float), predicted.astype(float), chances))
    assert found["logLoss"] == pytest.approx(theirs.log_loss(truth, chances))
    assert found["f1"] == pytest.approx(theirs.f1_score(truth, predicted, average="macro"))
    truth, predicted = random.normal(size=200), random.normal(size=200)
    found = measure("regression", Predictions(truth, predicted, np.zeros((200, 0))))
    assert found["rmse"] == pytest.approx(theirs.root_mean_squared_error(truth, predicted))
    assert found["mae"] == pytest.approx(theirs.mean_absolute_error(truth, predicted))
    assert found["mape"] == pytest.approx(theirs.mean_absolute_percentage_error(truth, predicted))
    assert found["r2"] == pytest.approx(theirs.r2_score(truth, predicted))


def test_one_class_gives_no_area():
    assert np.isnan(measure("binary", binary([1, 1], [0.2, 0.4]))["areaUnderROC"])


def test_about_95_of_100_intervals_hold_the_true_value():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth = random.integers(0, 2, 300)
        wrong = random.random(300) < 0.3
        predicted = np.where(wrong, 1 - truth, truth)
        found = intervals("multiclass", Predictions(truth.astype(float), predicted.astype(float), np.zeros((300, 0))))
        held += found["accuracy"].low <= 0.7 <= found["accuracy"].high
    assert 53 <= held <= 60


def test_a_paired_interval_is_narrow_where_both_err_on_the_same_rows():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 2000)
    score = np.clip(truth * 0.3 + random.random(2000) * 0.7, 0, 1)
    champion, challenger = binary(truth, score), binary(truth, np.clip(score + truth * 0.02, 0, 1))
    difference = paired_interval("binary", "areaUnderROC", challenger, champion)
    alone = intervals("binary", champion)["areaUnderROC"]
    assert 0 < difference.low < difference.high
    assert difference.high - difference.low < 0.5 * (alone.high - alone.low)
    same = paired_interval("binary", "areaUnderROC", champion, champion)
    assert (same.low, same.high) == (0.0, 0.0)


def test_different_rows_are_not_compared():
    with pytest.raises(ValueError, match="not asked about the same rows"):
        paired_interval("binary", "accuracy", binary([0, 1], [0, 1]), binary([1, 0], [0, 1]))
