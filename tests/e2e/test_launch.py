"""The demo's first chapter on a real stack, and what it promises looked at from outside."""

import json
import re
import subprocess
import sys

import pytest

from demo import play
from demo.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def summary(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(play, "SUMMARY", world.folder / "demo" / "summary.json")
        play.play(["launch"], Stack(world.settings, started_here=False), world.stage.display)
        return json.loads(play.SUMMARY.read_text())


@pytest.fixture(scope="module")
def launch(summary):
    return summary["chapters"]["launch"]


def test_the_summary_is_complete_and_everything_holds(summary, launch) -> None:
    assert launch["service"] == "flights"
    assert re.fullmatch("[0-9a-f]{12}", launch["release"])
    assert re.fullmatch("sha256:[0-9a-f]{64}", launch["image_digest"])
    assert launch["endpoint_arn"].endswith(":endpoint/flights-prod")
    assert launch["endpoint_status"] == "InService"
    assert (launch["rows_compared"], launch["mismatches"]) == (1000, 0)
    assert launch["rerun_changed"] == []
    assert launch["step_seconds"]["deploy.build_image"] > 0
    assert 0 < launch["rerun_seconds"] < summary["seconds"]


def test_every_resource_says_what_it_belongs_to(world, launch) -> None:
    sagemaker = world.stage.aws("sagemaker")
    for endpoint in ("flights-dev", "flights-prod"):
        arn = sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointArn"]
        tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
        assert launch["release"] in tags.values()
        assert "flights" in tags.values()


def test_the_state_names_the_champion_and_holds_nothing_back(world, launch) -> None:
    state = world.state("flights-prod")

    assert state.champion.release_id == launch["release"]
    assert state.champion.model_version == launch["model_version"]
    assert (state.approved, state.promotion, state.lease) == (None, None, None)


def test_the_ledger_tells_who_said_yes_and_why(world, launch) -> None:
    [approval] = [entry for entry in world.ledger.read("flights") if entry.action == "approved"]

    assert approval.user == "approver"
    assert "has read the report" in approval.reason
    assert launch["release"] in approval.subject


def test_no_credential_is_in_the_image_the_ledger_or_the_state(world, launch) -> None:
    s3 = world.stage.aws("s3")
    secret = world.settings.secrets.aws_secret_access_key
    keys = [
        each["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=world.stage.artifact_bucket)
        for each in page.get("Contents", [])
    ]
    assert any(key.startswith(f"releases/flights/{launch['release']}/") for key in keys)
    for key in keys:
        assert secret.encode() not in s3.get_object(Bucket=world.stage.artifact_bucket, Key=key)["Body"].read(), key


def test_the_command_line_shows_the_same(world, launch) -> None:
    import os

    done = subprocess.run(
        [sys.executable, "-m", "slipway.cli", "status", "flights"],
        env={**os.environ, **world.settings.client_environment()},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert launch["release"] in done.stdout
    assert "InService" in done.stdout


def test_sensible_answers_to_senseless_calls(world, launch) -> None:
    runtime = world.stage.aws("sagemaker-runtime", retries={"total_max_attempts": 1})

    def status(content_type: str, body: bytes) -> int:
        with pytest.raises(runtime.exceptions.ModelError) as caught:
            runtime.invoke_endpoint(EndpointName="flights-prod", ContentType=content_type, Body=body)
        return caught.value.response["OriginalStatusCode"]

    assert status("image/png", b"\x89PNG") == 415
    assert status("application/json", b'{"dataframe_split": {"columns": [') == 400
    assert status("application/json", b'{"dataframe_split": {"columns": ["carrier"], "data": [["UA"]]}}') == 400


@pytest.mark.long
def test_played_again_it_finds_everything_and_changes_nothing(world, launch) -> None:
    since = world.position()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(play, "SUMMARY", world.folder / "demo" / "again.json")
        again = play.play(["launch"], Stack(world.settings, started_here=False), world.stage.display)

    assert again["chapters"]["launch"]["model_version"] == launch["model_version"]
    assert again["chapters"]["launch"]["release"] == launch["release"]
    assert world.changes(since) == []
