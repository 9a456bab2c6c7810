"""The baseline of a new model: made by the function that the job names, logged beside the model."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pytest
from trainer_rows import make_rows

from slipway_trainer import baseline
from slipway_trainer.baseline import TrainedRows, log_baseline, thinning
from slipway_trainer.job import Call, job_from, to_json
from slipway_trainer.objects import ObjectReader
from slipway_trainer.problem import TrainingError
from slipway_trainer.python_retrainer import PythonRetrainer
from slipway_trainer.split import Bounds

DAY = 86_400_000_000
ROWS = TrainedRows(pa.table({"size": [1.0, 2.0]}), [0.5, 0.6], every=3)


def describe(features, answers, *, every, seconds, note):
    """What a job may name: tells what it was given."""
    return "beside/it.json", json.dumps([features.num_rows, list(answers), every, seconds, note]).encode()


def refuse(features, answers, **options):
    raise ValueError("one class only")


@pytest.fixture
def logged(monkeypatch):
    files: list[tuple[str, str, bytes]] = []
    monkeypatch.setattr(baseline, "_log_file", lambda *file: files.append(file))
    return files


@pytest.fixture
def asking(job, monkeypatch):
    makers = ModuleType("baseline_makers")
    makers.describe, makers.refuse = describe, refuse
    monkeypatch.setitem(sys.modules, makers.__name__, makers)

    def ask(function: str, **options: object):
        return replace(job, baseline=Call(f"{makers.__name__}:{function}", options))

    return ask


def test_the_named_function_makes_what_is_logged_with_the_model(asking, logged):
    job = asking("describe", note="hourly")
    read_back = job_from(json.loads(to_json(job)))
    assert log_baseline(read_back, lambda: ROWS, Bounds(0, DAY, 2 * DAY), "m-1") == "beside/it.json"
    assert [(model, path) for model, path, _ in logged] == [("m-1", "beside/it.json")]
    assert json.loads(logged[0][2]) == [2, [0.5, 0.6], 3, 86_400.0, "hourly"]


def test_a_model_is_not_lost_for_want_of_a_baseline(asking, logged, job):
    assert log_baseline(job, lambda: ROWS, Bounds(0, 1, 2), "m-1") == "none asked for"
    assert "one class only" in log_baseline(asking("refuse"), lambda: ROWS, Bounds(0, 1, 2), "m-1")
    assert log_baseline(asking("describe"), lambda: None, Bounds(0, 1, 2), "m-1") == "none: the retrainer gives no rows"
    assert logged == []


def test_a_function_that_does_not_exist_and_an_mlflow_that_is_away_fail_the_training(asking):
    from requests.exceptions import ConnectionError as NoConnection

    with pytest.raises(TrainingError, match="cannot be imported"):
        log_baseline(asking("nothing"), lambda: ROWS, Bounds(0, 1, 2), "m-1")

    def read() -> TrainedRows:
        raise NoConnection("refused")

    with pytest.raises(NoConnection):
        log_baseline(asking("describe"), read, Bounds(0, 1, 2), "m-1")


@pytest.mark.parametrize("rows", [0, 1, 999_999, 1_000_000, 1_000_001, 12_345_678])
def test_thinned_rows_are_at_most_the_limit_and_more_than_half_of_it(rows):
    left = len(range(0, rows, thinning(rows)))
    assert left <= baseline.MAX_ROWS
    assert left >= min(rows, baseline.MAX_ROWS / 2)


def test_rows_come_in_the_order_of_time_with_the_logged_models_answers(job, champion, monkeypatch, tmp_path):
    import mlflow

    monkeypatch.setattr(baseline, "MAX_ROWS", 700)
    retrainer = PythonRetrainer(
        replace(job, objects=job.objects[::-1]), ObjectReader(None, None, "eu-central-1"), tmp_path
    )
    features = {"colour": "string", "size": "double", "weight": "double"}
    split = retrainer.load(features)
    found = retrainer.trained_rows(None, SimpleNamespace(model_uri=champion.artifact_uri), split, list(features))
    assert found is not None
    assert found.every == 2
    oldest = make_rows(700, start="2024-01-01", seed=0)[: 2 * found.features.num_rows : 2]
    assert found.features["size"].to_pylist()[:300] == oldest["size"].tolist()[:300]
    expected = mlflow.sklearn.load_model(champion.artifact_uri).predict_proba(found.features.to_pandas())
    assert found.answers == pytest.approx(expected)
