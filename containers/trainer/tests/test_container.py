"""The command ``train`` as a process of its own, in a folder that stands for /opt/ml."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from trainer_rows import FEATURES, make_rows
from training_job import JOB, TrainingJob

pytestmark = pytest.mark.integration


@pytest.fixture
def training(tmp_path, champion) -> TrainingJob:
    """A training job with two objects in the channel ``training`` and the champion in ``champion``."""
    training = TrainingJob(tmp_path / "ml")
    training.hyperparameters({})
    parts = {f"part-{number}": make_rows(400, start=f"2024-0{number + 1}-01", seed=number) for number in range(2)}
    (training.channel("training", **parts) / "_SUCCESS").touch()
    shutil.copytree(champion.artifact_uri, training.channel("champion") / "model")
    return training


def test_sagemaker_finds_the_command_on_the_path():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"train": "slipway_trainer.container:main"}


def test_a_training_leaves_the_model_and_its_papers_and_takes_hyperparameters_by_name(training):
    import mlflow
    from sklearn.metrics import roc_auc_score

    training.job(improvements=[["areaUnderROC", 95.0]])
    training.hyperparameters({"model__C": "10.0", "sagemaker_program": '"train.py"'})
    assert training.run(TRAINING_JOB_NAME="parcels-7") == 0, training.output
    result = training.result
    assert result["champion_version"] == 3
    assert result["rows"] == {"train": 640, "holdout": 160}
    fitted = mlflow.sklearn.load_model(str(training.model))
    assert fitted.get_params()["model__C"] == 10.0
    parts = sorted(training.channel("training").glob("*.parquet"))
    held_out = pd.concat([pd.read_parquet(path) for path in parts]).sort_values("at")[640:]
    judged = roc_auc_score(held_out["late"], fitted.predict_proba(held_out[FEATURES])[:, 1])
    assert result["metrics"]["candidate"]["areaUnderROC"] == pytest.approx(judged, rel=1e-9)
    papers = training.root / "output" / "data"
    assert {"report.html", "importance.json", "environment.txt"} <= {path.name for path in papers.iterdir()}
    assert [each["uri"] for each in json.loads((papers / "data.json").read_text())] == [str(path) for path in parts]
    assert not (training.root / "output" / "failure").exists()


def test_a_job_as_a_hyperparameter_validates_the_objects_that_it_names(training):
    bad = make_rows(20)
    bad.loc[3, "late"] = None
    training.channel("training", bad=bad)
    objects = [{"uri": f"channel://training/{name}.parquet"} for name in ("part-0", "bad")]
    training.hyperparameters({"command": "validate", "job": json.dumps({**JOB, "objects": objects})})
    assert training.run() == 0, training.output
    judged = training.result["objects"]
    assert [each["passed"] for each in judged] == [True, False]
    assert judged[1]["problems"] == ["1 rows have no 'late'"]
    assert list(training.model.iterdir()) == []


def test_a_first_training_from_a_template_in_a_channel(training):
    (training.channel("code") / "own.py").write_text(
        "from sklearn.compose import ColumnTransformer\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "def make():\n"
        "    return make_pipeline(ColumnTransformer([('n', 'passthrough', ['size'])]), LogisticRegression())\n"
    )
    training.job(champion=None, template="channel://code/own.py:make", dry_run=True)
    assert training.run() == 0, training.output
    assert training.result["estimator"] == "template"
    assert training.result["metrics"]["candidate"]["areaUnderROC"] > 0.7


def test_bad_data_is_told_in_the_failure_file(training):
    training.channel("training", odd=make_rows(50).drop(columns="size"))
    training.job(dry_run=True)
    assert training.run() == 1
    assert "odd.parquet lacks 'size'; it has 'colour'" in training.failure
    assert not (training.root / "output" / "data" / "result.json").exists()


def test_what_may_go_through_later_has_an_exit_code_of_its_own(training):
    training.job(tracking_uri="http://127.0.0.1:9")
    assert training.run(MLFLOW_HTTP_REQUEST_MAX_RETRIES="0") == 75, training.output
    assert "MLflow does not answer" in training.failure


def test_a_long_reason_is_cut_to_what_sagemaker_shows(training):
    training.job(retrainer="channel://job/job.json:" + "x" * 2000)
    assert training.run() == 1
    assert len(training.failure) == 1024


def test_sigterm_ends_it(training):
    slow = training.channel("code") / "slow.py"
    slow.write_text("import time\ndef make():\n    print('asleep', flush=True)\n    time.sleep(600)\n")
    training.job(champion=None, template="channel://code/slow.py:make", dry_run=True)
    process = subprocess.Popen(training.command(), stdout=subprocess.PIPE, text=True)
    assert any(line == "asleep\n" for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert process.wait(110) != 0
    assert time.monotonic() - asked < 110  # SageMaker kills after 120 s
