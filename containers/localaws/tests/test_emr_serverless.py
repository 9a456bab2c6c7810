"""Job runs of EMR Serverless: this machine's Spark runs them.

https://docs.aws.amazon.com/emr-serverless/latest/APIReference/API_StartJobRun.html and the pages beside it.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from standin import ROLE, StandIn

pytestmark = [pytest.mark.integration, pytest.mark.spark, pytest.mark.timeout(300)]
SCRIPT = """
import os, sys, time
import boto3
from pyspark import SparkConf, SparkContext
print("began with", sys.argv[1:], os.environ.get("FROM_SPEC"), flush=True)
if sys.argv[1] == "sleep":
    time.sleep(600)
if sys.argv[1] == "fail":
    sys.exit(3)
context = SparkContext.getOrCreate()
told = [context.master, context.getConf().get("spark.app.given"), context.parallelize(range(10)).sum()]
boto3.client("s3").put_object(Bucket="jobs", Key="told", Body=repr(told).encode())
print("told", told, flush=True)
"""


class Jobs:
    """An application, and job runs of one script."""

    def __init__(self, server: StandIn) -> None:
        self.emr, self.s3 = server.client("emr-serverless"), server.client("s3")
        self.s3.create_bucket(Bucket="jobs")
        self.s3.put_object(Bucket="jobs", Key="main.py", Body=SCRIPT.encode())
        made = self.emr.create_application(
            name="spark", releaseLabel="emr-spark-8.0.0", type="SPARK", clientToken="made"
        )
        self.application: str = made["applicationId"]

    def request(self, *arguments: str, token: str, parameters: str = "", **given: Any) -> dict[str, Any]:
        submit: dict[str, Any] = {"entryPoint": "s3://jobs/main.py", "entryPointArguments": list(arguments)}
        if parameters:
            submit["sparkSubmitParameters"] = parameters
        logs = {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://jobs/logs/"}}}
        return {
            "applicationId": self.application,
            "clientToken": token,
            "executionRoleArn": ROLE,
            "jobDriver": {"sparkSubmit": submit},
            "configurationOverrides": logs,
            **given,
        }

    def start(self, *arguments: str, token: str, **given: Any) -> str:
        return str(self.emr.start_job_run(**self.request(*arguments, token=token, **given))["jobRunId"])

    def described(self, run: str) -> dict[str, Any]:
        return dict(self.emr.get_job_run(applicationId=self.application, jobRunId=run)["jobRun"])

    def wait(self, run: str, *states: str) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = self.described(run)
            if found["state"] in states:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{run} is {self.described(run)}")

    def log(self, run: str, stream: str = "stdout") -> str:
        key = f"logs/applications/{self.application}/jobs/{run}/SPARK_DRIVER/{stream}.gz"
        return gzip.decompress(self.s3.get_object(Bucket="jobs", Key=key)["Body"].read()).decode()

    def wait_log(self, run: str, words: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if words in self.log(run):
                    return
            except ClientError:
                pass
            time.sleep(0.3)
        raise AssertionError(f"{run} never printed {words!r}")


@pytest.fixture(scope="module")
def jobs(stand_in: StandIn) -> Jobs:
    return Jobs(stand_in)


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return str(caught.value.response["Error"]["Code"])


def test_a_job_run_is_run_by_spark_and_its_output_is_stored(jobs):
    given = (
        "--conf spark.app.given=yes --conf spark.executor.memory=14g --conf spark.emr-serverless.driverEnv.FROM_SPEC=a"
    )
    run = jobs.start("tell", "two words", token="tell", parameters=given, tags={"team": "parcels"}, name="parcels")
    found = jobs.wait(run, "SUCCESS", "FAILED")
    assert found["state"] == "SUCCESS", (found, jobs.log(run, "stderr")[-3000:])
    assert (found["name"], found["tags"], found["releaseLabel"]) == ("parcels", {"team": "parcels"}, "emr-spark-8.0.0")
    assert jobs.s3.get_object(Bucket="jobs", Key="told")["Body"].read() == b"['local[2]', 'yes', 45]"
    assert jobs.log(run).splitlines()[0] == "began with ['tell', 'two words'] a"


def test_an_application_without_job_runs_lists_none(jobs):
    made = jobs.emr.create_application(name="empty", releaseLabel="emr-7.5.0", type="SPARK", clientToken="e")
    assert jobs.emr.list_job_runs(applicationId=made["applicationId"])["jobRuns"] == []


def test_a_failed_job_run_says_with_which_code(jobs):
    found = jobs.wait(jobs.start("fail", token="fail"), "SUCCESS", "FAILED")
    assert found["state"] == "FAILED"
    assert "exit code" in found["stateDetails"]


def test_a_token_starts_one_job_run_and_cancelling_ends_its_processes(jobs):
    run = jobs.start("sleep", token="sleep")
    assert jobs.start("sleep", token="sleep") == run
    with pytest.raises(ClientError) as caught:
        jobs.start("tell", token="sleep")
    assert code(caught) == "ConflictException"
    jobs.wait_log(run, "began with ['sleep']")
    assert jobs.described(run)["state"] == "RUNNING"
    jobs.emr.cancel_job_run(applicationId=jobs.application, jobRunId=run)
    assert jobs.wait(run, "CANCELLED")["state"] == "CANCELLED"
    with pytest.raises(ClientError) as caught:
        jobs.emr.cancel_job_run(applicationId=jobs.application, jobRunId=run)
    assert code(caught) == "ValidationException"


def test_an_archive_is_unpacked_beside_the_driver(jobs):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        content = b'#!/bin/sh\nexport FROM_SPEC=its-own-python\nexec python3 "$@"\n'
        member = tarfile.TarInfo("bin/python")
        member.size, member.mode = len(content), 0o755
        archive.addfile(member, io.BytesIO(content))
    jobs.s3.put_object(Bucket="jobs", Key="python.tar.gz", Body=packed.getvalue())
    python = "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python"
    given = f"--conf spark.archives=s3://jobs/python.tar.gz#environment --conf {python}"
    run = jobs.start("fail", token="archive", parameters=given)
    jobs.wait(run, "FAILED")
    assert "its-own-python" in jobs.log(run) + jobs.log(run, "stderr")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"applicationId": "unknown0"}, "ResourceNotFoundException"),
        ({"clientToken": "no spaces"}, "ValidationException"),
        ({"executionRoleArn": "arn:aws:iam::999999999999:role/other"}, "AccessDeniedException"),
        ({"executionTimeoutMinutes": 1}, "ValidationException"),
        ({"jobDriver": {"sparkSubmit": {"entryPoint": " "}}}, "ValidationException"),
        (
            {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://x/y", "sparkSubmitParameters": "--master yarn"}}},
            "ValidationException",
        ),
    ],
)
def test_what_emr_refuses_is_refused(jobs, changes, told):
    with pytest.raises(ClientError) as caught:
        jobs.emr.start_job_run(**{**jobs.request("tell", token="refused"), **changes})
    assert code(caught) == told


def test_a_stopped_application_takes_job_runs_only_when_it_may_start(jobs):
    made = jobs.emr.create_application(
        name="stopped", releaseLabel="emr-7.5.0", type="SPARK", clientToken="s",
        autoStartConfiguration={"enabled": False},
    )  # fmt: skip
    jobs.emr.stop_application(applicationId=made["applicationId"])
    with pytest.raises(ClientError, match="auto-start is not enabled"):
        jobs.start("tell", token="stopped", applicationId=made["applicationId"])


def test_a_job_run_whose_entry_point_is_missing_fails(jobs):
    request = jobs.request("tell", token="missing")
    request["jobDriver"]["sparkSubmit"]["entryPoint"] = "s3://jobs/other.py"
    run = jobs.emr.start_job_run(**request)["jobRunId"]
    assert "s3://jobs/other.py cannot be read" in jobs.wait(run, "FAILED")["stateDetails"]


def test_a_restart_keeps_job_runs_and_fails_what_was_under_way(own_stand_in):
    jobs = Jobs(own_stand_in.start())
    run = jobs.start("sleep", token="sleep")
    jobs.wait_log(run, "began with")
    own_stand_in.stop(9)
    own_stand_in.start()
    found = jobs.described(run)
    assert (found["state"], found["stateDetails"]) == ("FAILED", "The stand-in was stopped while the job ran.")
    assert jobs.start("sleep", token="sleep") == run
