"""A training that spark-submit starts, with this machine's Spark; S3 is moto's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import boto3
import pyspark
import pytest
from moto.server import ThreadedMotoServer

import slipway_trainer
from slipway_trainer.spark.java_home import find_java_home

pytestmark = [pytest.mark.spark, pytest.mark.long, pytest.mark.timeout(600)]
ENTRY_POINT = Path(slipway_trainer.__file__).with_name("entry_point.py")
#: A pipeline that only fits where the session has what spark-submit was given, and what of ours nobody has set.
MAKE = (
    "def make():\n"
    "    from pyspark.sql import SparkSession\n"
    "    session = SparkSession.getActiveSession()\n"
    "    given = ('spark.app.submitted', 'spark.sql.shuffle.partitions', 'spark.sql.execution.arrow.pyspark.enabled')\n"
    "    print('given', session.sparkContext.master, *[session.conf.get(name) for name in given], flush=True)\n"
)


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_submitted_training_takes_the_session_as_it_is(job, endpoint, tmp_path):
    around = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    s3 = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    )
    s3.create_bucket(Bucket="things")
    body = Path(__file__).with_name("pipelines.py").read_text().replace("def make():\n", MAKE, 1)
    s3.put_object(Bucket="things", Key="code/own.py", Body=body.encode())
    made = asdict(
        replace(
            job,
            engine="spark",
            champion=None,
            template="s3://things/code/own.py:make",
            improvements=(),
            slices=(),
            spark={"spark.slipway.folder": "s3://things/spark/"},
        )
    )
    del made["submitted"]
    s3.put_object(Bucket="things", Key="job.json", Body=json.dumps(made).encode())
    home = Path(pyspark.__file__).parent
    settings = ("spark.app.submitted=yes", "spark.sql.shuffle.partitions=3", "spark.ui.enabled=false")
    line = [home / "bin" / "spark-submit", "--master", "local[2]", *(f"--conf={each}" for each in settings)]
    done = subprocess.run(
        [*line, ENTRY_POINT, "train", "--job", "s3://things/job.json", "--out", "s3://things/out/"],
        env={
            **os.environ,
            **around,
            "AWS_DEFAULT_REGION": "us-east-1",
            "JAVA_HOME": str(find_java_home(tmp_path)),
            "SPARK_HOME": str(home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert "given local[2] yes 3 true" in done.stdout
    result = json.loads(s3.get_object(Bucket="things", Key="out/result.json")["Body"].read())
    assert sum(result["rows"].values()) == 1400
    assert 0.7 < result["metrics"]["candidate"]["areaUnderROC"] < 1.0
