"""Clusters for real, on this machine: a standalone master with a worker, and a server of Spark Connect."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from spark_clusters import ConnectServer, Servers, Standalone
from trainer_rows import Training, run_trainer

from slipway_trainer.job import Call, Champion, Job

pytestmark = [pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
EXECUTORS = {"spark.executor.memory": "600m", "spark.driver.host": "127.0.0.1"}
BASELINE = Call("slipway.drift.training:baseline_file", {"window_hours": 72.0})


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A place of modules where our package is not to be had, as on a cluster that nothing was installed on."""
    package = tmp_path / "bare" / "slipway_trainer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('slipway_trainer is not installed here')\n")
    return str(package.parent)


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[Standalone]:
    cluster = Standalone(tmp_path / "cluster")
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def server(tmp_path: Path, bare: str) -> Iterator[ConnectServer]:
    server = ConnectServer(tmp_path / "server", bare)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def first(job: Job, tmp_path: Path) -> Job:
    """A first training, logged to an MLflow of its own."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    MlflowClient(uri).create_experiment("parcels", artifact_location=(tmp_path / "artifacts").as_uri())
    template = f"{HERE / 'pipelines.py'}:make"
    plain = replace(job, engine="spark", champion=None, template=template, improvements=(), slices=())
    return replace(plain, tracking_uri=uri, experiment="parcels", dry_run=False, baseline=BASELINE)


def with_shared_folder(first: Job, folder: Path, **settings: str) -> Job:
    folder.mkdir()
    spark = {name.replace("_", "."): value for name, value in settings.items()}
    return replace(first, spark={**spark, "spark.slipway.folder": str(folder)})


def logged(job: Job, result: dict[str, Any]) -> Path:
    """The folder of the model that a training logged, which is whole."""
    from mlflow import MlflowClient

    assert sum(result["rows"].values()) == 1400
    assert 0.7 < result["metrics"]["candidate"]["areaUnderROC"] < 1.0
    model = MlflowClient(job.tracking_uri).get_logged_model(result["model_uri"].removeprefix("models:/"))
    place = Path(model.artifact_location.removeprefix("file://"))
    assert set(json.loads((place / "golden.json").read_text())["answers"]) == {0.0, 1.0}
    assert (place / "slipway" / "baseline.json").exists()
    return place


def assert_same_here(job: Job, result: dict[str, Any], place: Path, folder: Path) -> None:
    """A Spark of this machine alone answers alike, and refits the logged model to the same model."""
    local = replace(job, spark={"spark.master": "local[2]"}, template=None, dry_run=True, job_id="parcels/again")
    code, found, output = run_trainer("train", replace(local, champion=Champion(1, str(place))), folder)
    assert code == 0, (found, output[-3000:])
    assert found["estimator"] == "sidecar"
    assert found["metrics"]["champion"] == pytest.approx(result["metrics"]["candidate"], rel=1e-9)
    assert found["metrics"]["candidate"] == pytest.approx(result["metrics"]["candidate"], rel=1e-6)


def assert_nothing_logged(job: Job) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(job.tracking_uri)
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert not client.search_runs(experiments, "attributes.status = 'FINISHED'")
    assert not client.search_logged_models(experiments)


def lose(job: Job, servers: Servers, folder: Path) -> dict[str, Any]:
    """Kill the cluster in the middle of a fit; returns the failure document."""
    endless = replace(job, template=f"{HERE / 'pipelines.py'}:make_endless")
    training = Training("train", endless, folder)
    training.until("stage LogisticRegression")
    time.sleep(10)  # into the tasks
    servers.stop()
    code, failure = training.end()
    assert code == 1, training.output[-3000:]
    return failure


def test_a_standalone_cluster_that_nothing_was_installed_on_trains(standalone, first, bare, tmp_path):
    job = with_shared_folder(first, tmp_path / "shared", spark_master=standalone.master)
    job = replace(job, spark={**job.spark, **EXECUTORS, "spark.executorEnv.PYTHONPATH": bare})
    code, result, output = run_trainer("train", job, tmp_path / "out")
    assert code == 0, (result, output[-3000:])
    assert "Registered app parcels retrain" in standalone.log("master")
    assert list((tmp_path / "shared").iterdir()) == []
    assert (logged(job, result) / "estimator" / "metadata").is_dir()


def test_a_standalone_cluster_that_is_lost_is_named_and_nothing_is_logged(standalone, first, tmp_path):
    job = replace(first, spark={"spark.master": standalone.master, **EXECUTORS})
    failure = lose(job, standalone, tmp_path / "out")
    assert failure["kind"] == "unavailable", failure
    told = f"the Spark master {standalone.master} is gone, and no executor is left: nothing was registered"
    assert failure["message"] == told
    assert_nothing_logged(job)


def test_a_server_of_spark_connect_that_nothing_was_installed_on_trains(server, first, tmp_path):
    job = with_shared_folder(first, tmp_path / "shared", spark_remote=server.remote)
    code, result, output = run_trainer("train", job, tmp_path / "out")
    assert code == 0, (result, output[-3000:])
    assert f"starting Spark ({server.remote})" in output
    assert "Failed to validate serving input" not in output
    assert list((tmp_path / "shared").iterdir()) == []
    assert_same_here(job, result, logged(job, result), tmp_path / "again")


def test_a_server_of_spark_connect_that_is_lost_is_told_and_nothing_is_logged(server, first, tmp_path):
    job = replace(first, spark={"spark.remote": server.remote})
    failure = lose(job, server, tmp_path / "out")
    assert failure["kind"] == "unavailable", failure
    assert failure["message"].startswith("the Spark cluster, or a service that it needs, is gone")
    assert_nothing_logged(job)
