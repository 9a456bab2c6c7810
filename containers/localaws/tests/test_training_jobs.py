"""Training jobs are really run: channels in, a container, model and output out, and its failures told."""

from __future__ import annotations

import io
import json
import signal
import tarfile
import time
from typing import Any

import pytest
import tiny_image
from botocore.exceptions import ClientError
from standin import ROLE, StandIn, refused, wait_for

BUCKET = "training"
GROUP = "/aws/sagemaker/TrainingJobs"
TRAINER = """
import json, os, pathlib, signal, sys, time

ml = pathlib.Path(os.environ["SLIPWAY_ML_ROOT"])
given = json.loads((ml / "input/config/hyperparameters.json").read_text())
print("training", os.environ["TRAINING_JOB_NAME"], *sys.argv[1:], flush=True)

def ended(number, frame):
    print("asked to end", flush=True)
    (ml / "model/partial").write_text("half")
    sys.exit(0)

signal.signal(signal.SIGTERM, ended)
kept = ml / "checkpoints/seen"
if kept.parent.is_dir():
    kept.write_text((kept.read_text() if kept.exists() else "") + "x")
time.sleep(float(given.get("seconds", "0")))
if "fails" in given:
    (ml / "output/failure").write_text(given["fails"])
    sys.exit(int(given.get("code", "1")))
found = {str(p.relative_to(ml)): p.read_text() for p in sorted((ml / "input/data").rglob("*")) if p.is_file()}
names = ("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "MINE")
(ml / "output/data/result.json").write_text(json.dumps({
    "data": found, "hyperparameters": given, "environment": {name: os.environ.get(name) for name in names},
    "resources": json.loads((ml / "input/config/resourceconfig.json").read_text()),
}))
(ml / "model/weights").write_text("1 2 3")
"""


def push_trainer(ecr: Any) -> str:
    layers = (tiny_image.layer({"opt/app/tiny_trainer.py": TRAINER}),)
    image = tiny_image.build(*layers, Entrypoint=["python3", "-m", "tiny_trainer"], Cmd=[])
    return tiny_image.push(ecr, image, "slipway/tiny-trainer", "v1")


def prepare(server: StandIn) -> str:
    """The image pushed, and a bucket with two channels; returns the image's URI."""
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key, body in (("in/a/job.json", b"{}"), ("in/a/sub/x.csv", b"1"), ("in/b/code.py", b"pass")):
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return push_trainer(server.client("ecr"))


@pytest.fixture(scope="session")
def trainer_uri(stand_in: StandIn) -> str:
    return prepare(stand_in)


def request(name: str, image: str, **changes: Any) -> dict[str, Any]:
    def channel(channel_name: str, prefix: str) -> dict[str, Any]:
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{prefix}"}
        return {"ChannelName": channel_name, "DataSource": {"S3DataSource": source}}

    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "InputDataConfig": [channel("job", "in/a/"), channel("code", "in/b/")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": {},
        **changes,
    }


def until(sagemaker: Any, name: str, *, field: str, wanted: set[str]) -> dict[str, Any]:
    """The job's description once ``field`` is one of ``wanted``."""
    return dict(wait_for(lambda: (d := sagemaker.describe_training_job(TrainingJobName=name))[field] in wanted and d))


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    return until(sagemaker, name, field="TrainingJobStatus", wanted={"Completed", "Failed", "Stopped"})


def running(sagemaker: Any, name: str) -> dict[str, Any]:
    return until(sagemaker, name, field="SecondaryStatus", wanted={"Training"})


def lines(logs: Any, name: str) -> list[str]:
    streams = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
    return [
        event["message"]
        for stream in streams
        for event in logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"])["events"]
    ]


def output(s3: Any, name: str, archive: str = "output") -> dict[str, bytes]:
    body = s3.get_object(Bucket=BUCKET, Key=f"out/{name}/output/{archive}.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as opened:
        return {each.name: opened.extractfile(each).read() for each in opened.getmembers()}  # type: ignore[union-attr]


def test_a_job_gets_its_channels_and_leaves_model_output_and_log(aws, stand_in, trainer_uri, name):
    sagemaker = aws("sagemaker")
    given = {"depth": "3", "text": '"quoted"'}
    tags = [{"Key": "team", "Value": "ml"}]
    made = sagemaker.create_training_job(
        **request(name, trainer_uri, HyperParameters=given, Environment={"MINE": "yes"}, Tags=tags)
    )
    described = ended(sagemaker, name)
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Completed", described
    assert described["TrainingJobArn"] == made["TrainingJobArn"]
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/{name}/output/model.tar.gz"
    assert described["TrainingEndTime"] >= described["TrainingStartTime"] >= described["CreationTime"]
    seen = [each["Status"] for each in described["SecondaryStatusTransitions"]]
    assert seen == ["Starting", "DownloadingTrainingImage", "Downloading", "Training", "Uploading", "Completed"]
    result = json.loads(output(aws("s3"), name)["result.json"])
    assert result["data"] == {
        "input/data/code/code.py": "pass", "input/data/job/job.json": "{}", "input/data/job/sub/x.csv": "1",
    }  # fmt: skip
    assert result["hyperparameters"] == given
    assert result["resources"]["hosts"] == ["algo-1"]
    assert result["environment"]["AWS_ENDPOINT_URL"] == stand_in.url
    assert result["environment"]["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert result["environment"]["MINE"] == "yes"
    assert output(aws("s3"), name, "model") == {"weights": b"1 2 3"}
    assert lines(aws("logs"), name) == [f"training {name} train"]
    assert sagemaker.list_tags(ResourceArn=made["TrainingJobArn"])["Tags"] == tags
    listed = sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert [each["TrainingJobStatus"] for each in listed] == ["Completed"]


def test_what_the_container_wrote_and_its_exit_code_are_the_reason(aws, trainer_uri, name):
    sagemaker = aws("sagemaker")
    given = {"fails": "the rows lack a column", "code": "75"}
    sagemaker.create_training_job(**request(name, trainer_uri, HyperParameters=given))
    described = ended(sagemaker, name)
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: the rows lack a column, exit code: 75"
    with pytest.raises(ClientError, match="NoSuchKey"):
        output(aws("s3"), name)


def test_a_stopped_job_may_still_save_what_it_has(aws, trainer_uri, name):
    sagemaker = aws("sagemaker")
    sagemaker.create_training_job(**request(name, trainer_uri, HyperParameters={"seconds": "300"}))
    running(sagemaker, name)
    wait_for(lambda: lines(aws("logs"), name))
    sagemaker.stop_training_job(TrainingJobName=name)
    described = ended(sagemaker, name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert output(aws("s3"), name, "model") == {"partial": b"half"}
    assert "asked to end" in lines(aws("logs"), name)
    refused(sagemaker.stop_training_job, "is in status Stopped", TrainingJobName=name)


def test_a_job_that_takes_too_long_is_ended(aws, trainer_uri, name):
    sagemaker = aws("sagemaker")
    stopping = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}, "HyperParameters": {"seconds": "300"}}
    sagemaker.create_training_job(**request(name, trainer_uri, **stopping))
    described = ended(sagemaker, name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_a_job_without_an_instance_or_without_its_data_fails_with_the_reason(aws, stand_in, trainer_uri, name):
    sagemaker = aws("sagemaker")
    stand_in.faults({"effect": "no_capacity", "resource": f"{name}-1"})
    sagemaker.create_training_job(**request(f"{name}-1", trainer_uri))
    assert ended(sagemaker, f"{name}-1")["FailureReason"].startswith("CapacityError: Unable to provision")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/nothing/"}}
    channels = [{"ChannelName": "job", "DataSource": source}]
    sagemaker.create_training_job(**request(f"{name}-2", trainer_uri, InputDataConfig=channels))
    assert "No S3 objects found under S3 URL" in ended(sagemaker, f"{name}-2")["FailureReason"]
    output_config = {"S3OutputPath": "s3://no-such-bucket/out"}
    sagemaker.create_training_job(**request(f"{name}-3", trainer_uri, OutputDataConfig=output_config))
    assert "Artifact upload failed" in ended(sagemaker, f"{name}-3")["FailureReason"]


def test_checkpoints_come_back_to_the_next_job(aws, trainer_uri, name):
    sagemaker, s3 = aws("sagemaker"), aws("s3")
    config = {"S3Uri": f"s3://{BUCKET}/kept/{name}", "LocalPath": "/opt/ml/checkpoints"}
    for number, seen in ((1, b"x"), (2, b"xx")):
        sagemaker.create_training_job(**request(f"{name}-{number}", trainer_uri, CheckpointConfig=config))
        assert ended(sagemaker, f"{name}-{number}")["TrainingJobStatus"] == "Completed"
        assert s3.get_object(Bucket=BUCKET, Key=f"kept/{name}/seen")["Body"].read() == seen


def test_requests_that_sagemaker_refuses_are_refused(aws, trainer_uri, name):
    sagemaker = aws("sagemaker")

    def wrong(*words: str, **changes: Any) -> None:
        refused(sagemaker.create_training_job, *words, **request(name, trainer_uri, **changes))

    wrong("Invalid MaxWaitTimeInSeconds", EnableManagedSpotTraining=True)
    short = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 599}
    wrong("Invalid MaxWaitTimeInSeconds", EnableManagedSpotTraining=True, StoppingCondition=short)
    wrong("MaxWaitTimeInSeconds", StoppingCondition={**short, "MaxWaitTimeInSeconds": 700})
    wrong("trainingJobName", TrainingJobName="not_a_name")
    wrong("enum value set", ResourceConfig={"InstanceType": "ml.x.y", "InstanceCount": 1, "VolumeSizeInGB": 1})
    missing = {"TrainingImage": trainer_uri.partition("@")[0] + ":missing", "TrainingInputMode": "File"}
    wrong("not found", AlgorithmSpecification=missing)
    refused(sagemaker.describe_training_job, "Requested resource not found.", TrainingJobName=name)
    refused(sagemaker.stop_training_job, "Requested resource not found.", TrainingJobName=name)
    sagemaker.create_training_job(**request(name, trainer_uri))
    with pytest.raises(ClientError) as caught:
        sagemaker.create_training_job(**request(name, trainer_uri))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    ended(sagemaker, name)


def test_after_a_crash_jobs_are_run_again_and_those_that_ended_stay(own_stand_in):
    server = own_stand_in.start()
    image, sagemaker = prepare(server), server.client("sagemaker")
    sagemaker.create_training_job(**request("done", image))
    ended(sagemaker, "done")
    sagemaker.create_training_job(**request("under-way", image, HyperParameters={"seconds": "3"}))
    running(sagemaker, "under-way")
    time.sleep(1.0)
    server.stop(signal.SIGKILL)
    sagemaker = server.start().client("sagemaker")
    assert sagemaker.describe_training_job(TrainingJobName="done")["TrainingJobStatus"] == "Completed"
    described = ended(sagemaker, "under-way")
    assert described["TrainingJobStatus"] == "Completed"
    assert "Restarting" in [each["Status"] for each in described["SecondaryStatusTransitions"]]
    assert "result.json" in output(server.client("s3"), "under-way")
