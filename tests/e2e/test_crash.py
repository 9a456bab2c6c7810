"""Everything is killed in the middle of a deployment; a second start takes it up where it was."""

import contextlib
import time

import psutil
import pytest

from demo.stack import start_stack
from demo.stack.processes import Records, find
from demo.stack.supervisor import running_parts

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize("task", ["build_image", "deploy_dev", "verify_dev"])
def test_a_deployment_survives_the_end_of_everything(world, task: str) -> None:
    name = f"crash-{task.replace('_', '-')}"
    world.register(name)
    world.declare(name)
    since = world.position()
    run = world.trigger(f"{name}.deploy")
    world.until(lambda: world.tasks(run)[task].state in {"running", "deferred"}, 240)
    time.sleep(1)

    for process in find(str(world.settings.state_dir), Records(world.settings.state_dir).read().values()):
        with contextlib.suppress(psutil.NoSuchProcess):  # some go with those that started them
            process.kill()
    time.sleep(1)
    assert not any(running_parts(world.settings).values())
    start_stack(world.settings, report=lambda part, state: None)
    world.approver.answer_approval(world.waiting(run, seconds=400), "Approve", {"reason": "it came back"})

    assert world.finished(run).state == "success"
    created = [change for change in world.changes(since) if ":Create" in change]
    assert len(created) == len(set(created)), created
