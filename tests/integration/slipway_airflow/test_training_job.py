"""``refit`` in a SageMaker training job that the stand-in runs: one job a run, whatever happens to the task."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_image
from airflow.sdk.exceptions import AirflowSkipException

from slipway.errors import ComputeUnavailableError, InvalidInputError, PermanentError, SlipwayError
from slipway.spec import ServiceSpec

from .guarded import guarded
from .kills import run_with_kills
from .retraining import LAKE, Retraining, make_rows, retrain_section

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[3]
# The packages of this environment and the trainer of this checkout: what an image of the trainer holds, lent.
PATHS = (ROOT / "containers" / "trainer" / "src", ROOT / "include", Path(pytest.__file__).parents[1])


@pytest.fixture(scope="session")
def trainer_image(stand_in) -> str:
    """The trainer's image in the stand-in's registry, as a spec names it."""
    layer = tiny_image.layer({"opt/slipway/README": "the packages are the host's"})
    image = tiny_image.build(
        layer,
        Entrypoint=["python3", "-m", "slipway_trainer.container"],
        Cmd=["train"],
        Env=[f"PYTHONPATH={':'.join(map(str, PATHS))}", "PYTHONUNBUFFERED=1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES=2"],
    )
    uri = tiny_image.push(stand_in.client("ecr"), image, "slipway/trainer", "v1")
    return f"{{account_id}}.dkr.ecr.{{region}}.amazonaws.com/slipway/trainer@{uri.partition('@')[2]}"


@pytest.fixture
def retraining(service, platform, mlflow_server, trainer_image) -> Retraining:
    section = retrain_section(service.spec.name, compute={"sagemaker": {"image": trainer_image}})
    spec = ServiceSpec.model_validate({**service.spec.model_dump(exclude_defaults=True), "retrain": section})
    s3 = service.aws.client("s3")
    if LAKE not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return Retraining(spec, platform, s3, mlflow_server.client)


@pytest.fixture
def with_champion(retraining) -> Retraining:
    retraining.register_champion()
    retraining.put("january.parquet", make_rows(500))
    retraining.run("await_data", "validate_data")
    return retraining


def refit(retraining: Retraining, **arguments: Any) -> Any:
    return retraining.task("refit", poll_seconds=0.3, **arguments)


def jobs(aws: Any, retraining: Retraining) -> list[tuple[str, str]]:
    """Number and status of the service's training jobs."""
    found = aws.client("sagemaker").list_training_jobs(NameContains=f"{retraining.spec.name}-", MaxResults=100)
    named = ((each["TrainingJobName"], each["TrainingJobStatus"]) for each in found["TrainingJobSummaries"])
    return sorted((name.rpartition("-")[2], status) for name, status in named)


@pytest.mark.long
def test_a_task_that_is_killed_after_each_of_its_calls_has_one_job_and_one_version(with_champion, aws):
    context = with_champion.context("refit")
    kills = run_with_kills(lambda: refit(with_champion), context)
    assert kills >= 4  # the job document, the job, the ledger, the result
    assert jobs(aws, with_champion) == [("1", "Completed")]
    result = refit(with_champion).execute(context)
    assert result["rows"] == {"train": 400, "holdout": 100}
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.7
    assert with_champion.baseline(result["model_uri"]).origin["rows"] == 400
    assert with_champion.run("register") == {"version": 2}
    assert with_champion.aliases == {"champion": 1, "candidate": 2}
    assert with_champion.ledger() == ["training_started", "candidate_registered"]
    (run,) = with_champion.finished_runs
    assert run.data.tags["slipway.training_job"].startswith(f"{with_champion.spec.name}-")
    assert len(with_champion.versions) == 2


@pytest.mark.long
def test_its_lines_are_in_the_task_log_and_its_description_holds_no_secret(with_champion, aws, capsys):
    task = refit(with_champion)
    task.execute(with_champion.context("refit"))
    told = capsys.readouterr().out
    assert f"train for {with_champion.spec.name}" in told
    assert "succeeded, Completed" in told
    described = aws.client("sagemaker").describe_training_job(TrainingJobName=task._remote.name)
    assert described["HyperParameters"] == {"command": "train"}
    assert not described.get("Environment")
    assert described["RoleArn"].endswith(":role/slipway-endpoint")


@pytest.mark.long
def test_a_dry_run_registers_nothing_and_a_second_try_takes_its_job(with_champion, aws):
    for _ in range(2):
        with pytest.raises(AirflowSkipException, match=r"nothing is registered.*areaUnderROC"):
            refit(with_champion, evaluate_only=True).execute(with_champion.context("refit"))
    assert jobs(aws, with_champion) == [("1", "Completed")]
    assert not with_champion.finished_runs
    assert len(with_champion.versions) == 1


def test_rows_that_cannot_be_trained_on_fail_with_the_trainers_words_and_a_cleared_task_tries_anew(retraining, aws):
    retraining.register_champion()
    retraining.put("other.parquet", make_rows(200).drop(columns="size"))
    retraining.run("await_data", "validate_data")
    for attempts in (1, 2):
        with pytest.raises(PermanentError, match=r"other.parquet lacks 'size'.* \(training job .*-\d\)"):
            refit(retraining).execute(retraining.context("refit"))
        assert jobs(aws, retraining) == [(str(number), "Failed") for number in range(1, attempts + 1)]
    assert not retraining.finished_runs


SLOW = "import time\ndef make():\n    print('asleep', flush=True)\n    time.sleep(600)\n"
QUICK = (
    "from sklearn.compose import make_column_transformer\n"
    "from sklearn.linear_model import LogisticRegression\n"
    "from sklearn.pipeline import make_pipeline\n"
    "def make():\n"
    "    return make_pipeline(make_column_transformer(('passthrough', ['size'])), LogisticRegression())\n"
)


@pytest.mark.long
def test_killing_the_task_stops_the_job_and_the_next_try_begins_another_with_the_files_as_they_are(
    retraining, aws, tmp_path, monkeypatch, capsys
):
    own = tmp_path / "retrainers" / "own.py"
    own.parent.mkdir()
    own.write_text(SLOW)
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    retrain = retraining.spec.retrain.model_copy(update={"template": "own.py:make"})
    retraining.spec = retraining.spec.model_copy(update={"retrain": retrain})
    retraining.put("january.parquet", make_rows(200))
    retraining.run("await_data", "validate_data")
    task, ended = refit(retraining), []

    def run() -> None:
        try:
            task.execute(retraining.context("refit"))
        except SlipwayError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    deadline, told = time.monotonic() + 90, ""
    while "asleep" not in told and time.monotonic() < deadline:
        time.sleep(0.1)
        told += capsys.readouterr().out
    task.on_kill()
    thread.join(60)
    assert isinstance(ended[0], PermanentError)
    assert "was stopped by somebody" in str(ended[0])
    assert jobs(aws, retraining) == [("1", "Stopped")]
    own.write_text(QUICK)
    found = refit(retraining).execute(retraining.context("refit"))
    assert found["champion_version"] is None
    assert jobs(aws, retraining) == [("1", "Stopped"), ("2", "Completed")]


def test_without_an_instance_the_task_is_tried_again(with_champion, aws):
    aws.faults({"effect": "no_capacity", "resource": f"{with_champion.spec.name}-*", "count": 1})
    with pytest.raises(ComputeUnavailableError, match="got no instance: CapacityError"):
        refit(with_champion).execute(with_champion.context("refit"))
    assert jobs(aws, with_champion) == [("1", "Failed")]


def test_credentials_of_mlflow_need_a_secret_before_anything_is_started(with_champion, aws, monkeypatch):
    connection = {"conn_type": "http", "host": "mlflow.example.com", "login": "slipway", "password": "hunter2"}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps(connection))
    since = aws.position()
    with pytest.raises(InvalidInputError, match="name that secret as mlflow_secret"):
        refit(with_champion).execute(with_champion.context("refit"))
    assert not aws.changes(since)


OF_SPARK = (
    "from pyspark.ml import Pipeline\n"
    "from pyspark.ml.classification import LogisticRegression\n"
    "from pyspark.ml.feature import StringIndexer, VectorAssembler\n"
    "def make():\n"
    "    return Pipeline(stages=[\n"
    "        StringIndexer(inputCol='colour', outputCol='colour_index', handleInvalid='keep'),\n"
    "        VectorAssembler(inputCols=['colour_index', 'size'], outputCol='features'),\n"
    "        LogisticRegression(labelCol='late'),\n"
    "    ])\n"
)


@pytest.mark.long
@pytest.mark.spark
@pytest.mark.parametrize("password", ["pw-1", "of yesterday"])
def test_spark_trains_in_a_job_that_logs_in_to_mlflow_by_its_secret(
    retraining, trainer_image, aws, mlflow_server, tmp_path, monkeypatch, password
):
    own = tmp_path / "retrainers" / "own.py"
    own.parent.mkdir()
    own.write_text(OF_SPARK)
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    secret = f"mlflow/{retraining.spec.name}"
    aws.client("secretsmanager").create_secret(
        Name=secret, SecretString=json.dumps({"username": "trainer", "password": password})
    )
    section = retrain_section(
        retraining.spec.name,
        engine="spark",
        template="own.py:make",
        spark={"spark.master": "local[1]"},
        compute={"sagemaker": {"image": trainer_image, "mlflow_secret": secret}},
    )
    given = retraining.spec.model_dump(exclude_defaults=True)
    retraining.spec = ServiceSpec.model_validate({**given, "retrain": section})
    retraining.put("january.parquet", make_rows(400))
    retraining.run("await_data", "validate_data")
    with guarded(mlflow_server.url, "trainer", "pw-1") as (port, answered):
        connection = {"conn_type": "http", "host": "127.0.0.1", "port": port, "login": "trainer", "password": "pw-1"}
        monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({**connection, "schema": "http"}))
        if password != "pw-1":
            with pytest.raises(SlipwayError, match=r"MLflow refuses.*401"):
                refit(retraining).execute(retraining.context("refit"))
            assert set(answered) == {401}
            assert not retraining.finished_runs
            return
        result = refit(retraining).execute(retraining.context("refit"))
        assert retraining.run("register") == {"version": 1}
    assert answered
    assert 401 not in answered
    assert sum(result["rows"].values()) == 400
    assert abs(result["rows"]["holdout"] - 80) <= 2  # the cutoff is an approximate percentile
    assert result["metrics"]["candidate"]["areaUnderROC"] > 0.6
    (run,) = retraining.finished_runs
    assert run.data.tags["slipway.engine"] == "spark"
    assert jobs(aws, retraining) == [("1", "Completed")]
    described = aws.client("sagemaker").describe_training_job(
        TrainingJobName=f"{run.data.tags['slipway.training_job']}"
    )
    assert "pw-1" not in json.dumps(described, default=str)
