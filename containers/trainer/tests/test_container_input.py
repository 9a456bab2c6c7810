"""What a training container is given: jobs, channels, and what is not as it should be."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer_rows import make_rows
from training_job import JOB, TrainingJob

from slipway_trainer.container import main
from slipway_trainer.container_input import Folders, read_order
from slipway_trainer.problem import TrainingError


@pytest.fixture
def training(tmp_path) -> TrainingJob:
    training = TrainingJob(tmp_path / "ml")
    training.hyperparameters({})
    training.channel("training", rows=make_rows(5))
    (training.channel("champion") / "model").mkdir()
    training.job()
    return training


def order(training: TrainingJob):
    return read_order(Folders(training.root))


def problem(training: TrainingJob) -> str:
    with pytest.raises(TrainingError) as caught:
        order(training)
    return str(caught.value)


def test_files_of_the_training_channel_are_the_objects_and_channels_become_paths(training):
    for name in ("_SUCCESS", ".part.crc", "_temporary/part.parquet", "dt=2024-01-01/b.parquet", "a.parquet"):
        path = training.channel("training") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"12345")
    command, job = order(training)
    folder = training.channel("training")
    assert command == "train"
    assert [each.uri for each in job.objects] == [
        str(folder / name) for name in ("a.parquet", "dt=2024-01-01/b.parquet", "rows.parquet")
    ]
    assert job.objects[0].size == 5
    assert job.champion.artifact_uri == str(training.channel("champion") / "model")


def test_objects_on_s3_stay_as_they_are(training):
    training.job(objects=[{"uri": "s3://lake/a.parquet", "etag": "e", "size": 7}])
    (found,) = order(training)[1].objects
    assert (found.uri, found.etag, found.size) == ("s3://lake/a.parquet", "e", 7)


def test_no_objects_are_no_objects(training):
    training.job(objects=[])
    assert order(training)[1].objects == ()


def test_the_job_may_be_packed_once_or_twice(training):
    (training.channel("job") / "job.json").unlink()
    once = json.dumps(JOB)
    for text in (once, json.dumps(once)):
        training.hyperparameters({"command": json.dumps("validate"), "job": text})
        command, job = order(training)
        assert (command, job.service) == ("validate", "parcels")


def test_other_hyperparameters_are_the_models_own(training, monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_NAME", "parcels-7")
    training.job(hyperparameters={"model__C": 1.0, "model__tol": 0.1}, tags={"team": "a"})
    training.hyperparameters(
        {
            "model__C": "0.5",
            "penalty": "l2",
            "warm": "true",
            "sagemaker_region": '"x"',
            "_tuning_objective_metric": "auc",
        }
    )
    job = order(training)[1]
    assert job.hyperparameters == {"model__C": 0.5, "model__tol": 0.1, "penalty": "l2", "warm": True}
    assert job.tags == {"team": "a", "slipway.training_job": "parcels-7"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{", "hyperparameters.json is not JSON"),
        ("[]", "holds a list; expected an object"),
        ({"model__C": 3}, "'model__C' is 3; every hyperparameter is given as text"),
        ({"command": "fit"}, "'command' is 'fit'; expected one of train, validate"),
        ({"command": "[1]"}, r"'command' is [1]; expected one of train"),
        ({"job": "{}"}, "the job is given twice"),
    ],
)
def test_hyperparameters_that_cannot_be_used(training, values, message):
    training.hyperparameters(values)
    assert message in problem(training)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"champion": {"version": 1, "artifact_uri": "channel://before/model"}}, "needs the channel 'before'"),
        ({"champion": {"version": 1, "artifact_uri": "channel://champion/x"}}, "has no 'x'; it has 'model'"),
        ({"template": "channel://job/own.py:make"}, "'job' has no 'own.py:make'; it has 'job.json'"),
        ({"objects": [{"uri": "channel://champion"}]}, "holds no file to read; it has 'model'"),
        ({"objects": 7}, "the job is not valid"),
        ({"objects": ["channel://training"]}, "the job is not valid"),
        ({"colour": "red"}, "the job is not valid"),
    ],
)
def test_jobs_that_cannot_be_run(training, job, message):
    training.job(**job)
    assert message in problem(training)


def test_what_is_missing_is_named(training):
    (training.channel("job") / "job.json").write_text("[1]")
    assert "job.json is no job: expected a JSON object, found '[1]'" in problem(training)
    (training.channel("job") / "job.json").unlink()
    assert "the channels given are 'champion', 'job', 'training'" in problem(training)
    (training.root / "input" / "config" / "hyperparameters.json").unlink()
    assert "hyperparameters.json cannot be read: No such file" in problem(training)


def test_streams_and_several_instances_are_refused(training):
    training.configure("inputdataconfig.json", {"training": {"TrainingInputMode": "Pipe"}})
    assert "'training' is in mode Pipe; expected File or FastFile" in problem(training)
    training.configure("inputdataconfig.json", {"training": {"TrainingInputMode": "FastFile"}})
    training.configure("resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
    assert order(training)[0] == "train"
    training.configure("resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    assert "2 instances were started; expected InstanceCount 1" in problem(training)


@given(st.dictionaries(st.text(min_size=1), st.recursive(st.none() | st.booleans() | st.text(), st.lists)))
def test_whatever_the_hyperparameters_are_it_is_an_order_or_a_reason(tmp_path_factory, values):
    training = TrainingJob(tmp_path_factory.mktemp("ml"))
    training.channel("training", rows=make_rows(1))
    (training.channel("champion") / "model").mkdir()
    training.job()
    training.hyperparameters(values)
    with contextlib.suppress(TrainingError):
        assert order(training)[0] == "train"


def test_a_root_without_anything_is_told_in_the_failure_file(tmp_path, monkeypatch):
    monkeypatch.setattr("slipway_trainer.container.hold", lambda parent: None)  # it would lead a group of its own
    monkeypatch.setenv("SLIPWAY_ML_ROOT", str(tmp_path))
    assert main([]) == 1
    assert "hyperparameters.json cannot be read" in (tmp_path / "output" / "failure").read_text()
