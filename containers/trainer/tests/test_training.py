from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trainer_rows import FEATURES, make_rows, run_trainer

from slipway_trainer.job import DataObject, Window
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.training import train

# In a process of their own: under xdist pyspark takes the worker for a doctest run and exits.
pytestmark = pytest.mark.integration


def test_the_refit_is_the_champions_pipeline_fitted_on_the_old_rows_and_judged_on_the_new(job, champion):
    import mlflow
    import pandas as pd
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    result = train(job)

    rows = pd.concat([pd.read_parquet(each.uri) for each in job.objects]).sort_values("at")
    cut = int(len(rows) * 0.8)
    fitted = mlflow.sklearn.load_model(champion.artifact_uri)
    before = fitted.predict_proba(rows[cut:][FEATURES])[:, 1]
    after = fitted.fit(rows[:cut][FEATURES], rows[:cut]["late"]).predict_proba(rows[cut:][FEATURES])[:, 1]
    truth = rows[cut:]["late"]
    assert result["rows"] == {"train": cut, "holdout": len(rows) - cut}
    for name, score in {
        "areaUnderROC": roc_auc_score,
        "areaUnderPR": average_precision_score,
        "logLoss": log_loss,
        "brier": brier_score_loss,
    }.items():
        assert result["metrics"]["candidate"][name] == pytest.approx(score(truth, after), rel=1e-9)
        assert result["metrics"]["champion"][name] == pytest.approx(score(truth, before), rel=1e-9)
    improvement = result["improvements"][0]
    difference = result["metrics"]["candidate"]["areaUnderROC"] - result["metrics"]["champion"]["areaUnderROC"]
    assert improvement["low"] < difference < improvement["high"]
    assert set(result["slices"]) == {"colour=red", "colour=green", "colour=blue"}
    assert result["classes"] == {str(k): int(v) for k, v in rows[:cut]["late"].value_counts().items()}


def test_hyperparameters_change_the_estimator(job):
    plain = train(job)["metrics"]["candidate"]["logLoss"]
    assert train(replace(job, hyperparameters={"model__C": 10.0}))["metrics"]["candidate"]["logLoss"] != plain
    with pytest.raises(TrainingError, match="hyperparameters: Invalid parameter"):
        train(replace(job, hyperparameters={"model__nothing": 1}))


def test_the_window_leaves_rows_out(job):
    result = train(replace(job, window=Window(days=10)))
    assert sum(result["rows"].values()) == 240
    result = train(replace(job, window=Window(since="2024-02-01T00:00:00+00:00")))
    assert sum(result["rows"].values()) == 700


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="size"), "lacks 'size'; it has 'colour'"),
        (lambda rows: rows.assign(size="big"), "column 'size' does not fit the model's type double"),
        (lambda rows: rows.assign(colour=1.0), "column 'colour' does not fit the model's type string"),
        (lambda rows: rows[:0], "no rows at all"),
        (lambda rows: rows[:3], "has 3 rows"),
        (lambda rows: rows.assign(late=1), "one class only"),
        (lambda rows: rows.assign(late=np.where(rows.index == 7, np.nan, rows["late"])), "1 rows have no 'late'"),
        (lambda rows: rows.assign(late=rows.index % 3), "3 classes, the task is binary"),
        (lambda rows: rows.assign(at=rows["at"][0]), "cannot be split in time"),
        (lambda rows: rows.assign(at="yesterday"), "holds what is no time"),
    ],
)
def test_bad_rows_are_refused_with_their_reason(with_rows, change, message):
    with pytest.raises(BadDataError, match=message):
        train(with_rows(change(make_rows(100))))


def test_a_new_category_is_trained_on(with_rows):
    rows = make_rows(400)
    rows.loc[50:, "colour"] = "ultraviolet"
    assert train(with_rows(rows))["rows"]["train"] == 320


def test_files_that_do_not_fit_together_are_both_named(job, tmp_path):
    odd = tmp_path / "odd.parquet"
    make_rows(50).assign(size="1").to_parquet(odd)
    with pytest.raises(BadDataError, match=r"'size' is double in .*part-0.parquet and string in .*odd.parquet"):
        train(replace(job, objects=(*job.objects, DataObject(str(odd)))))


def test_half_a_parquet_file_and_another_delimiter_are_named(job, tmp_path):
    half = tmp_path / "half.parquet"
    whole = (tmp_path / "part-0.parquet").read_bytes()
    half.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadDataError, match=r"half.parquet cannot be read as parquet, perhaps it is half-written"):
        train(replace(job, objects=(DataObject(str(half)),)))
    semicolons = tmp_path / "rows.csv"
    make_rows(50).to_csv(semicolons, sep=";", index=False)
    with pytest.raises(BadDataError, match="another delimiter than the comma"):
        train(replace(job, objects=(DataObject(str(semicolons)),)))


def test_no_champion_says_what_to_do_and_a_retrainer_with_a_template_trains_without_one(job, tmp_path):
    first = replace(job, champion=None)
    with pytest.raises(TrainingError, match="has no champion to retrain from"):
        train(first)
    own = tmp_path / "own.py"
    own.write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "from slipway_trainer.python_retrainer import PythonRetrainer\n"
        "class Own(PythonRetrainer):\n"
        "    def template(self):\n        return LogisticRegression()\n"
        "    def template_features(self):\n        return {'size': 'double', 'weight': 'double'}\n"
    )
    result = train(replace(first, retrainer=f"{own}:Own"))
    assert result["estimator"] == "template"
    assert result["metrics"]["champion"] == {}
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.7
    with pytest.raises(TrainingError, match="cannot be loaded: AttributeError"):
        train(replace(first, retrainer=f"{own}:Other"))


def test_a_template_of_the_spec_trains_without_a_champion(job, tmp_path):
    file = tmp_path / "template.py"
    file.write_text(
        "from sklearn.compose import ColumnTransformer\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def make():\n"
        "    numbers = ColumnTransformer([('n', 'passthrough', ['size', 'weight'])])\n"
        "    return make_pipeline(numbers, LogisticRegression())\n"
        "def broken():\n    raise ValueError('no')\n"
    )
    result = train(replace(job, champion=None, template=f"{file}:make"))
    assert result["estimator"] == "template"
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.7
    with pytest.raises(TrainingError, match=r"template .*:broken fails: ValueError: no"):
        train(replace(job, champion=None, template=f"{file}:broken"))


@pytest.mark.long
def test_the_process_writes_a_result_or_a_failure(job, tmp_path):
    code, result, output = run_trainer("train", job, tmp_path / "good")
    assert code == 0, (result, output)
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.7
    assert "read 2 of 2 objects, 1,400 rows" in output
    code, failure, output = run_trainer("train", replace(job, target="nothing"), tmp_path / "bad")
    assert code == 1
    assert failure["kind"] == "data"
    assert "lacks 'nothing'" in failure["message"]
    assert "Traceback" not in output
