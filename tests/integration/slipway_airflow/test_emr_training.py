"""``refit`` on the stand-in's EMR Serverless, where this machine's Spark really trains."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.errors import InvalidInputError, PermanentError
from slipway.spec import ServiceSpec
from slipway.training import remote

from .kills import Killed
from .retraining import LAKE, Retraining, make_rows, retrain_section

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]
MAKE = """
def make():
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression
    from pyspark.ml.feature import StringIndexer, VectorAssembler

    return Pipeline(
        stages=[
            StringIndexer(inputCol="colour", outputCol="colour_index", handleInvalid="keep"),
            VectorAssembler(inputCols=["colour_index", "size"], outputCol="features"),
            LogisticRegression(labelCol="late", maxIter=5),
        ]
    )
"""
SLOW = "def make():\n    import time\n    print('asleep', flush=True)\n    time.sleep(600)\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with nothing but the service's own code."""
    (tmp_path / "retrainers").mkdir()
    (tmp_path / "retrainers" / "own.py").write_text(MAKE)
    monkeypatch.setenv("SLIPWAY_PROJECT", str(tmp_path))
    monkeypatch.setattr("slipway.training.remote.POLL_SECONDS", 0.5)
    return tmp_path


class OnEmr:
    """The service, its application and what is known of its job runs."""

    def __init__(self, service: Any, platform: Any, mlflow: Any) -> None:
        self.emr = service.aws.client("emr-serverless")
        made = self.emr.create_application(
            name=service.spec.name, releaseLabel="emr-spark-8.0.0", type="SPARK", clientToken=service.spec.name
        )
        self.application: str = made["applicationId"]
        section = retrain_section(
            service.spec.name,
            engine="spark",
            template="own.py:make",
            compute={"emr_serverless": {"application_id": self.application}},
            spark={"spark.executor.memory": "4g"},
        )
        spec = ServiceSpec.model_validate({**service.spec.model_dump(exclude_defaults=True), "retrain": section})
        s3 = service.aws.client("s3")
        if LAKE not in {each["Name"] for each in s3.list_buckets()["Buckets"]}:
            s3.create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        self.retraining = Retraining(spec, platform, s3, mlflow.client)

    @property
    def states(self) -> list[str]:
        """The job runs' states, oldest first."""
        runs = self.emr.list_job_runs(applicationId=self.application)["jobRuns"]
        return [each["state"] for each in sorted(runs, key=lambda each: each["createdAt"])]

    def execute(self, change: Callable[[Any], None] = lambda _: None) -> Any:
        """Run ``refit`` as a new process would."""
        task = self.retraining.task("refit")
        change(task)
        return task.execute(self.context)

    @property
    def context(self) -> Any:
        context = self.retraining.context("refit")
        context["ti"].xcom_push = lambda **_: None
        return context


@pytest.fixture
def on_emr(service: Any, platform: Any, mlflow_server: Any, project: Path) -> OnEmr:
    return OnEmr(service, platform, mlflow_server)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that the task's log was given."""
    lines: list[str] = []

    def see_through(training: Any, on_line: Callable[[str], None], **given: Any) -> dict[str, Any]:
        def keep(line: str) -> None:
            lines.append(line)
            on_line(line)

        return remote.see_through(training, keep, **given)

    monkeypatch.setattr("slipway_airflow.operators.model_refit.see_through", see_through)
    return lines


def killed_when_it_has_started(task: Any) -> None:
    def kill(model: Any, **_: Any) -> None:
        if model.name == "StartJobRun":
            raise Killed(model.name)

    task.hook.client("emr-serverless").meta.events.register("after-call", kill)


def test_a_task_that_was_killed_finds_its_job_run_and_the_result_is_registered_once(on_emr, told):
    retraining = on_emr.retraining
    retraining.put("january.parquet", make_rows(500))
    retraining.run("await_data", "validate_data")
    with pytest.raises(Killed):
        on_emr.execute(killed_when_it_has_started)
    refit = on_emr.execute()
    assert on_emr.states == ["SUCCESS"]
    assert sum(refit["rows"].values()) == 500
    assert refit["metrics"]["candidate"]["areaUnderROC"] > 0.7
    assert "starting Spark (as submitted)" in "\n".join(told)
    assert "logged MLflow run" in "\n".join(told)
    assert retraining.baseline(refit["model_uri"]).origin["source"] == "training"
    assert retraining.run("register") == {"version": 1}
    # Cleared and run again: nothing is started, and there is no second version.
    assert on_emr.execute() == refit
    assert retraining.run("register") == {"version": 1}
    assert on_emr.states == ["SUCCESS"]
    assert len(retraining.finished_runs) == 1
    assert retraining.ledger().count("training_started") == 1


def test_killing_the_task_cancels_the_job_run_and_clearing_it_begins_another(on_emr, project):
    retraining, own = on_emr.retraining, project / "retrainers" / "own.py"
    retraining.put("january.parquet", make_rows(500).assign(late=1))
    retraining.run("await_data", "validate_data")
    own.write_text(SLOW)
    task, raised = retraining.task("refit"), []

    def run() -> None:
        try:
            task.execute(on_emr.context)
        except PermanentError as error:
            raised.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 120
    while on_emr.states != ["RUNNING"]:
        assert time.monotonic() < deadline, on_emr.states
        time.sleep(0.2)
    task.on_kill()
    thread.join(120)
    assert on_emr.states == ["CANCELLED"]
    assert "was cancelled" in raised[0]
    assert "clear the task to begin another one" in raised[0]
    # The other one gets the code as it is by now, and tells in the trainer's own words that the rows are no good.
    own.write_text(MAKE)
    with pytest.raises(PermanentError, match="'late'") as caught:
        on_emr.execute()
    assert on_emr.states == ["CANCELLED", "FAILED"]
    assert "job run" not in str(caught.value)
    assert retraining.finished_runs == []


def test_an_application_that_is_not_started_is_refused_before_anything_is_begun(on_emr):
    retraining = on_emr.retraining
    retraining.put("january.parquet", make_rows(500))
    retraining.run("await_data", "validate_data")
    on_emr.emr.stop_application(applicationId=on_emr.application)
    on_emr.emr.update_application(applicationId=on_emr.application, autoStartConfiguration={"enabled": False})
    with pytest.raises(InvalidInputError, match="is stopped and may not start by itself"):
        on_emr.execute()
