"""What people answer, or do not answer, and what then is and is not done."""

import os
import subprocess
import sys

import pytest

from slipway.errors import AccessDeniedError

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_a_rejection_ends_the_run_red_with_who_and_why_and_leaves_production_alone(world) -> None:
    world.register("tiny")
    approval = world.waiting(run := world.trigger("tiny.deploy", reason="see whether it can be refused"))
    with pytest.raises(AccessDeniedError):
        world.airflow.answer_approval(approval, "Approve", {"reason": "I am not among the approvers"})

    world.approver.answer_approval(approval, "Reject", {"reason": "the weights look odd"})
    run = world.finished(run)

    assert run.state == "failed"
    assert world.errors(run)["approve"].startswith("ApprovalRejectedError")
    assert "approver" in world.errors(run)["approve"]
    assert "the weights look odd" in world.errors(run)["approve"]
    assert world.tasks(run)["announce"].state == "upstream_failed"
    assert "tiny-prod" not in world.endpoints()
    assert not world.airflow.dag_runs("tiny.promote")
    [entry] = [entry for entry in world.ledger.read("tiny") if entry.action == "rejected"]
    assert (entry.user, entry.reason) == ("approver", "the weights look odd")


@pytest.mark.long
def test_two_deploys_at_once_make_one_release_one_endpoint_and_one_promotion(world) -> None:
    world.register("tiny")
    since = world.position()
    first, second = world.trigger("tiny.deploy"), world.trigger("tiny.deploy")

    world.approver.answer_approval(world.waiting(first), "Approve", {"reason": "looks right"})

    assert world.finished(first).state == "success"
    assert world.finished(second).state == "success"
    world.until(lambda: world.state("tiny-prod").champion, 240)
    promotions = [world.finished(run) for run in world.airflow.dag_runs("tiny.promote", limit=5)]
    assert {run.state for run in promotions} == {"success"}
    created = [change for change in world.changes(since) if ":Create" in change]
    assert sum("CreateEndpoint tiny-prod" in change for change in created) == 1
    assert len(created) == len(set(created)), created
    assert world.state("tiny-prod").champion.model_version == 1


@pytest.mark.long
def test_an_undeployment_says_what_would_go_then_takes_it_and_the_release_comes_back_without_a_build(world) -> None:
    """Goes on with what the test above launched."""
    since = world.position()

    said = undeploy(world)
    assert "would delete: endpoint tiny-prod" in said
    assert "would delete: endpoint tiny-dev" in said
    assert world.changes(since) == []
    done = undeploy(world, "--delete", "--reason", "nobody asks it")

    assert "deleted: endpoint tiny-prod" in done
    assert not [name for name in world.endpoints() if name.startswith("tiny-")]
    state = world.state("tiny-prod")
    assert (state.champion, state.lease, state.history[-1].reason) == (None, None, "nobody asks it")
    run = world.trigger("tiny.deploy")
    world.approver.answer_approval(world.waiting(run), "Approve", {"reason": "needed after all"})
    assert world.finished(run).state == "success"
    world.until(lambda: world.state("tiny-prod").champion, 240)
    assert world.airflow.xcom(run.dag_id, run.run_id, "build_image")["reused"], "the image was kept"


def undeploy(world, *options: str) -> str:
    """What the command says; it must not fail."""
    done = subprocess.run(
        [sys.executable, "-m", "slipway.cli", "undeploy", "tiny", *options],
        env={**os.environ, **world.settings.client_environment()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.long
def test_no_answer_in_time_is_a_no(world) -> None:
    version = world.register("late")

    run = world.finished(world.trigger("late.deploy", model_version=version))

    assert run.state == "failed"
    assert world.errors(run)["approve"].startswith("ApprovalTimedOutError")
    assert "late-prod" not in world.endpoints()
    assert "timed_out" in {entry.action for entry in world.ledger.read("late")}
