"""The trainer as spark-submit runs it, without a Spark: jobs of one Python process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

import slipway_trainer
from slipway_trainer.job import Preparation
from slipway_trainer.problem import TrainingError
from slipway_trainer.spark.session import start_session

ENTRY_POINT = Path(slipway_trainer.__file__).with_name("entry_point.py")
OUT = "s3://things/run/attempt-1/"
MAKE = (
    "from pathlib import Path\n"
    "def make():\n"
    "    from sklearn.compose import ColumnTransformer\n"
    "    from sklearn.linear_model import LogisticRegression\n"
    "    from sklearn.pipeline import make_pipeline\n"
    "    columns = Path(__file__).with_name('columns.txt').read_text().split()\n"
    "    return make_pipeline(ColumnTransformer([('n', 'passthrough', columns)]), LogisticRegression())\n"
)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str) -> Any:
    credentials = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=endpoint, **credentials)
    boto3.client("s3", endpoint_url=endpoint, **credentials).create_bucket(Bucket="things")
    for name, text in {"own.py": MAKE, "columns.txt": "size weight"}.items():
        client.put_object(Bucket="things", Key=f"run/code/{name}", Body=text.encode())
    yield client
    for each in client.list_objects_v2(Bucket="things").get("Contents", ()):
        client.delete_object(Bucket="things", Key=each["Key"])


class Submission:
    """What spark-submit would start."""

    def __init__(self, endpoint: str, s3: Any) -> None:
        self._endpoint = endpoint
        self._s3 = s3
        self.output = ""

    def run(self, document: dict[str, Any] | str | None, command: str = "train", **environment: str) -> int:
        if document is not None:
            text = document if isinstance(document, str) else json.dumps(document)
            self._s3.put_object(Bucket="things", Key="run/job.json", Body=text.encode())
        line = [sys.executable, str(ENTRY_POINT), command, "--job", "s3://things/run/job.json", "--out", OUT]
        around = {"AWS_ENDPOINT_URL": self._endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        around |= {"AWS_DEFAULT_REGION": "us-east-1", **environment}
        done = subprocess.run(line, env={**os.environ, **around}, capture_output=True, text=True, check=False)
        self.output = done.stdout + done.stderr
        return done.returncode

    @property
    def left(self) -> dict[str, Any]:
        """The documents in the out folder, by name."""
        found = self._s3.list_objects_v2(Bucket="things", Prefix="run/attempt-1/").get("Contents", ())
        read = {each["Key"]: self._s3.get_object(Bucket="things", Key=each["Key"])["Body"].read() for each in found}
        return {key.rpartition("/")[2]: json.loads(body) for key, body in read.items()}


@pytest.fixture
def submission(endpoint: str, s3: Any) -> Submission:
    return Submission(endpoint, s3)


def document(job: Any, **changes: Any) -> dict[str, Any]:
    found = asdict(replace(job, **changes))
    del found["submitted"]
    return found


def test_the_services_own_files_are_fetched_and_the_result_is_left_in_s3(submission, job):
    made = document(job, champion=None, template="s3://things/run/code/own.py:make", improvements=())
    assert submission.run(made) == 0, submission.output
    assert list(submission.left) == ["result.json"]
    result = submission.left["result.json"]
    assert (result["estimator"], sum(result["rows"].values())) == ("template", 1400)
    assert "train for parcels, job parcels/manual" in submission.output


def test_a_function_that_prepares_is_fetched_as_well(submission, s3, job):
    s3.put_object(Bucket="things", Key="run/code/less.py", Body=b"def prepare(rows):\n    return rows[:10]\n")
    place = "s3://things/prepared/0.parquet"
    prepare = Preparation("s3://things/run/code/less.py:prepare", (place,))
    assert submission.run(document(job, objects=job.objects[:1], prepare=prepare), "prepare") == 0, submission.output
    assert submission.left["result.json"]["objects"][0]["rows"] == 10


def test_bad_data_is_left_as_a_failure_of_that_kind(submission, job):
    assert submission.run(document(job, target="colour2")) == 1
    assert list(submission.left) == ["failure.json"]
    failure = submission.left["failure.json"]
    assert failure["kind"] == "data"
    assert "lacks 'colour2'" in failure["message"]
    assert f"failed (data): {failure['message']}" in submission.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no json", "is not a job"),
        ('{"service": "x"}', "the job is not valid"),
        (None, "cannot read run/job.json"),
    ],
)
def test_a_job_that_is_none_is_told(submission, text, told):
    assert submission.run(text) == 1
    assert submission.left["failure.json"]["kind"] == "permanent"
    assert told in submission.left["failure.json"]["message"]


def test_a_python_without_the_package_leaves_word(submission, tmp_path):
    hidden = tmp_path / "slipway_trainer"
    hidden.mkdir()
    (hidden / "__init__.py").write_text("raise ImportError('No module named slipway_trainer')\n")
    script = shutil.copy(ENTRY_POINT, tmp_path / "entry_point.py")
    assert Path(script).exists()
    assert submission.run({}, PYTHONPATH=str(tmp_path)) == 1
    failure = submission.left["failure.json"]
    assert failure["kind"] == "permanent"
    assert "slipway_trainer cannot be imported by" in failure["message"]
    assert "archive in retrain.compute.emr_serverless" in failure["message"]


def test_places_outside_of_s3_are_refused():
    line = [sys.executable, str(ENTRY_POINT), "train", "--job", "job.json", "--out", OUT]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'job.json' is no place in S3" in done.stderr


def test_a_spark_that_is_too_old_is_named_with_the_release_to_take(monkeypatch, tmp_path):
    monkeypatch.setattr("pyspark.__version__", "3.5.6+amzn.0")
    with pytest.raises(TrainingError, match=r"this Spark is 3\.5\.6.*expected 4\.0 or later.*emr-spark-8\.0\.0"):
        start_session("x", cache_dir=tmp_path, submitted=True)
