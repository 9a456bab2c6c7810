"""The deploy operator against endpoints that really run, on both of its paths."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from slipway.errors import AwsUnavailableError, EndpointFailedError, EndpointRolledBackError, PermanentError
from slipway.platform import Platform
from slipway.spec import ServiceSpec
from slipway_airflow.operators.sagemaker_deploy import SageMakerDeployOperator
from slipway_airflow.triggers.endpoint import EndpointSettledTrigger
from tests.integration.slipway_airflow.conftest import Service
from tests.integration.slipway_airflow.kills import run_with_kills

pytestmark = pytest.mark.integration

Run = Callable[[SageMakerDeployOperator, Any], dict[str, Any]]


@pytest.fixture
def launch(service: Service, platform: Platform) -> Callable[..., SageMakerDeployOperator]:
    def launch(release_id: str, *, spec: ServiceSpec | None = None, **fields: Any) -> SageMakerDeployOperator:
        given = {"task_id": "launch", "spec": spec or service.spec, "platform": platform, "stage": "dev"}
        return SageMakerDeployOperator(**{**given, "release_id": release_id, "waiter_delay": 1, **fields})

    return launch


def run_sync(operator: SageMakerDeployOperator, context: Any) -> dict[str, Any]:
    return operator.execute(context)


def run_deferred(operator: SageMakerDeployOperator, context: Any) -> dict[str, Any]:
    """Execute as Airflow does it: a new process with the same task goes on after each event."""
    operator.deferrable = True
    call: Callable[[], dict[str, Any]] = lambda: operator.execute(context)  # noqa: E731
    while True:
        try:
            return call()
        except TaskDeferred as deferred:
            event, kwargs = fire(deferred.trigger), deferred.kwargs or {}
            for cached in ("wanted", "release", "bucket", "hook"):
                operator.__dict__.pop(cached, None)
            call = lambda event=event, kwargs=kwargs: operator.execute_complete(context, event, **kwargs)  # noqa: E731


def fire(trigger: Any) -> dict[str, Any]:
    path, fields = trigger.serialize()
    assert path.endswith("EndpointSettledTrigger")

    async def first() -> dict[str, Any]:
        async for event in EndpointSettledTrigger(**fields).run():
            return dict(event.payload)
        raise AssertionError("no event")

    return asyncio.run(first())


both_paths = pytest.mark.parametrize("run", [run_sync, run_deferred], ids=["sync", "deferred"])


@both_paths
def test_a_release_is_launched_updated_and_left_alone(
    run: Run, launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    first, second = service.release(1, weight=2.0), service.release(2, weight=5.0)

    created = run(launch(first.id), context("launch"))
    assert service.ask("dev", 3.0) == 6.0
    assert created == {
        "endpoint": f"{service.spec.name}-dev",
        "config_name": service.describe("dev")["EndpointConfigName"],
        "release_id": first.id,
    }
    since = service.aws.position()
    assert run(launch(first.id), context("launch", run_id="manual__2")) == created
    assert service.aws.changes(since) == []

    updated = run(launch(second.id), context("launch", run_id="manual__3"))
    assert service.ask("dev", 3.0) == 15.0
    assert updated["config_name"] != created["config_name"]
    state = service.state("dev")
    assert (state.champion.release_id, state.previous.release_id) == (second.id, first.id)
    assert [action for action, _ in service.ledger()] == ["created", "launched", "updated", "launched"]


@both_paths
def test_a_container_that_fails_shows_the_end_of_its_log(
    run: Run, launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    release = service.release()
    with pytest.raises(EndpointFailedError) as failure:
        run(launch(release.id, spec=service.with_environment(BROKEN="yes")), context("launch"))
    assert "failed" in str(failure.value)
    assert "No module named 'sklearn'" in str(failure.value)
    assert service.state("dev") is None


def test_a_failed_dev_endpoint_is_made_anew_and_the_ledger_says_so(
    launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    release = service.release()
    with pytest.raises(EndpointFailedError):
        launch(release.id, spec=service.with_environment(BROKEN="yes")).execute(context("launch"))
    launch(release.id).execute(context("launch", run_id="manual__2"))
    assert service.ask("dev", 1.0) == 2.0
    assert [action for action, _ in service.ledger()] == ["created", "deleted", "created", "launched"]


@both_paths
def test_an_update_that_sagemaker_rolled_back_silently_is_a_failure(
    run: Run, launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    first, second = service.release(1, weight=2.0), service.release(2, weight=5.0)
    run(launch(first.id), context("launch"))
    service.aws.faults({"effect": "silent_rollback", "endpoint": f"{service.spec.name}-dev"})
    with pytest.raises(EndpointRolledBackError, match="rolled the update back"):
        run(launch(second.id), context("launch", run_id="manual__2"))
    assert service.ask("dev", 3.0) == 6.0
    assert service.state("dev").champion.release_id == first.id


@both_paths
def test_giving_up_says_what_the_endpoint_was_doing(
    run: Run, launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    release = service.release()
    spec = service.with_environment(PING_STATUS="500")
    with pytest.raises(EndpointFailedError, match=r"Creating.*has not settled"):
        run(launch(release.id, spec=spec, waiter_max_attempts=1), context("launch"))


def test_an_endpoint_that_could_not_be_read_meanwhile_is_found_by_the_next_try(
    launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    release, spec = service.release(), service.with_environment(LOADING_SECONDS="6")
    since = service.aws.position()
    with pytest.raises(TaskDeferred) as deferred:
        launch(release.id, spec=spec, deferrable=True).execute(context("launch"))
    denied = {"effect": "error", "status": 403, "code": "AccessDeniedException"}
    service.aws.faults({**denied, "service": "sagemaker", "action": "DescribeEndpoint"})
    event = fire(deferred.value.trigger)
    assert (event["status"], event["timed_out"]) == ("error", False)
    with pytest.raises(AwsUnavailableError, match="could not be waited for"):
        launch(release.id, spec=spec)._wait(None, 1)
    service.aws.faults()
    with pytest.raises(AwsUnavailableError, match=r"Creating.*could not be waited for: .*AccessDenied"):
        launch(release.id, spec=spec).execute_complete(context("launch"), event, **(deferred.value.kwargs or {}))
    run_deferred(launch(release.id, spec=spec), context("launch"))
    assert service.ask("dev", 3.0) == 6.0
    assert service.aws.changes(since).count("CreateEndpoint") == 1


def test_size_can_be_changed_for_one_run(
    launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    release = service.release()
    operator = launch(release.id, instance_type="ml.c6i.xlarge", instance_count=2)
    config = operator.execute(context("launch"))["config_name"]
    described = service.aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    (variant,) = described["ProductionVariants"]
    assert (variant["InstanceType"], variant["InitialInstanceCount"]) == ("ml.c6i.xlarge", 2)


def test_an_unknown_release_is_refused_before_anything_is_made(
    launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    with pytest.raises(PermanentError, match="not recorded"):
        launch("0123456789ab").execute(context("launch"))
    assert service.describe("dev") is None


@pytest.mark.long
def test_killed_after_any_call_it_comes_to_the_same_end(
    launch: Callable[..., SageMakerDeployOperator], service: Service, context: Any
) -> None:
    release, since = service.release(), service.aws.position()
    kills = run_with_kills(lambda: launch(release.id), context("launch"))
    assert kills >= 3
    made = [action for action in service.aws.changes(since) if action.startswith(("Create", "Update"))]
    assert sorted(made) == ["CreateEndpoint", "CreateEndpointConfig", "CreateModel"]
    assert service.ask("dev", 3.0) == 6.0
    assert service.state("dev").champion.release_id == release.id
