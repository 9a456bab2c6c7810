"""Shuffling a feature makes a model worse by as much as scikit-learn says; one that is not used changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from slipway_trainer import importance as measured
from slipway_trainer.importance import importance
from slipway_trainer.python_retrainer import PythonRetrainer
from slipway_trainer.report import report_html
from slipway_trainer.retrainer import Split
from slipway_trainer.split import Bounds
from slipway_trainer.training import train

FEATURES = ["strong", "weak", "noise"]


def rows(count: int, task: str) -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({name: random.normal(size=count) for name in FEATURES})
    score = 2.0 * frame["strong"] + 0.5 * frame["weak"]
    if task == "regression":
        return frame.assign(late=score + random.normal(size=count) * 0.1)
    if task == "multiclass":
        return frame.assign(late=np.digitize(score, [-1.0, 1.0]))
    return frame.assign(late=(random.random(count) < 1 / (1 + np.exp(-score))).astype(int))


def measure(job, task: str, model, frame: pd.DataFrame) -> dict:
    fitted = model.fit(frame[FEATURES].assign(noise=0.0), frame["late"])
    own = replace(job, task=task)
    split = Split(frame, frame, Bounds(0, 1, 2), len(frame), len(frame))
    return importance(own, PythonRetrainer(own, None, None), fitted, split, FEATURES)


@pytest.mark.parametrize(
    ("task", "model", "metric", "scoring"),
    [
        ("binary", LogisticRegression(), "areaUnderROC", "roc_auc"),
        ("multiclass", LogisticRegression(), "logLoss", "neg_log_loss"),
        ("regression", LinearRegression(), "rmse", "neg_root_mean_squared_error"),
    ],
)
def test_it_agrees_with_scikit_learn_and_gives_nothing_to_a_feature_that_is_not_used(job, task, model, metric, scoring):
    from sklearn.inspection import permutation_importance

    frame = rows(1500, task)
    found = measure(job, task, model, frame)
    theirs = permutation_importance(
        model, frame[FEATURES], frame["late"], scoring=scoring, n_repeats=20, random_state=0
    )
    assert (found["metric"], found["rows"]) == (metric, 1500)
    assert found["features"][0]["feature"] == "strong"
    by_name = {each["feature"]: each for each in found["features"]}
    for name, expected in zip(FEATURES, theirs.importances_mean, strict=True):
        assert by_name[name]["low"] <= expected <= by_name[name]["high"]
    noise = by_name["noise"]
    assert (noise["value"], noise["low"], noise["high"]) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_model_without_chances_is_measured_by_its_accuracy_and_many_features_in_groups(job, monkeypatch):
    from sklearn.svm import LinearSVC

    frame = rows(200, "binary")
    whole = measure(job, "binary", LinearSVC(), frame)
    assert whole["metric"] == "accuracy"
    monkeypatch.setattr(measured, "_ROWS_AT_ONCE", 1)
    assert measure(job, "binary", LinearSVC(), frame) == whole


def test_the_report_shows_it(job):
    result = train(job)
    found = result["importance"]
    assert {each["feature"] for each in found["features"]} == {"colour", "size", "weight"}
    assert found["features"][0]["feature"] == "size"
    page = report_html(job, result)
    assert "Importance of the features" in page
    shown = re.findall(r"<tr><td>(colour|size|weight)</td>", page)
    assert shown == [each["feature"] for each in found["features"]]
    assert report_html(job, {**result, "importance": {}}).count("Importance of the features") == 0
