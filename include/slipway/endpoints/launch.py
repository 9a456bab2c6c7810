"""Bring an endpoint to what is wanted: describe → compare → act.

Nothing is kept between calls but what AWS has. So a task that is killed at any point, or whose call's answer got lost,
calls again: it finds its own model, config and endpoint by their names, and its own update under way.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from slipway.aws_errors import aws_call, translate
from slipway.endpoints.outcome import Description, Outcome, OutcomeName, endpoint_outcome
from slipway.endpoints.requests import WantedEndpoint
from slipway.endpoints.resource import (
    Record,
    Removal,
    Sleep,
    delete,
    describe,
    ensure_resource,
    ensure_tags,
    is_duplicate,
    wait_until_gone,
    when_consistent,
)
from slipway.errors import AwsUnavailableError, EndpointBusyError, EndpointFailedError, SlipwayError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

ActionName = Literal["created", "updated", "unchanged", "waiting"]
Step = Literal["create", "update", "keep", "wait", "replace", "wait_until_gone"]

_ROUNDS = 5


@dataclass(frozen=True)
class LaunchAction:
    """What `ensure_endpoint` did.

    Args:
        name: ``created`` or ``updated`` the endpoint, left it ``unchanged``, or is ``waiting`` for an earlier call.
        endpoint: the endpoint's name.
        config_name: the wanted endpoint config.
        previous_config: the config that the endpoint had before an update, else None.
        since: for `endpoint_outcome`; None unless the endpoint was updated by this call.
        made: models and endpoint configs that this call created, as in ``endpoint config flights-dev-0123456789``.
    """

    name: ActionName
    endpoint: str
    config_name: str
    previous_config: str | None = None
    since: datetime | None = None
    made: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether this call changed anything in AWS."""
        return self.name in {"created", "updated"} or bool(self.made)


def ensure_endpoint(
    sagemaker: SageMakerClient,
    wanted: WantedEndpoint,
    *,
    replace_failed: Record | None = None,
    sleep: Sleep = time.sleep,
) -> LaunchAction:
    """Start whatever brings the endpoint to the wanted config; does not wait for it.

    Args:
        sagemaker: a boto3 SageMaker client.
        wanted: what shall be there.
        replace_failed: given, an endpoint in status ``Failed`` is written down by it, deleted and created anew (for
            dev). None: such an endpoint is an error.
        sleep: waits, in seconds, for a deletion or for AWS's reads to catch up.

    Returns:
        What was done. Then wait, and ask `check_endpoint`.

    Raises:
        EndpointBusyError: somebody else is changing the endpoint. Nothing was created.
        EndpointFailedError, EndpointRollbackFailedError: the endpoint is in a state that an update cannot leave.
        AwsUnavailableError: AWS maintains the endpoint or does not answer; try again.
        ResourceConflictError: a model or config has the wanted name but other content.
        CapacityError: the account's quota does not allow it.
        SlipwayError: AWS refuses.
    """
    made: list[str] = []
    for _ in range(_ROUNDS):
        found = describe(sagemaker, "endpoint", wanted.name)
        step = next_step(found, wanted.config_name, may_replace=replace_failed is not None)
        if step == "wait_until_gone":
            wait_until_gone(sagemaker, wanted.name, sleep)
            continue
        if step == "replace" and found is not None and replace_failed is not None:
            _remove_failed(sagemaker, found, replace_failed, sleep)
            continue
        made += _ensure_parts(sagemaker, wanted, sleep)
        action = _act(sagemaker, wanted, found, step, tuple(made), sleep)
        if action is not None:
            return action
    raise EndpointBusyError(f"{wanted.name} was changed by somebody else {_ROUNDS} times while it was being launched.")


def check_endpoint(sagemaker: SageMakerClient, wanted: WantedEndpoint, *, since: datetime | None = None) -> Outcome:
    """Judge how the launch goes; when the endpoint is ready, its tags say what it serves from then on.

    Args:
        sagemaker: a boto3 SageMaker client.
        wanted: what `ensure_endpoint` was given.
        since: the `LaunchAction`'s.

    Returns:
        PENDING, READY, or FAILED with the error to raise.

    Raises:
        SlipwayError: AWS does not answer or refuses.
    """
    found = describe(sagemaker, "endpoint", wanted.name)
    outcome = endpoint_outcome(found, wanted.config_name, since=since)
    if outcome.name is OutcomeName.READY and found is not None:
        ensure_tags(sagemaker, found["EndpointArn"], wanted.tags)
    return outcome


def next_step(found: Description | None, wanted_config: str, *, may_replace: bool) -> Step:
    """Decide what to do with the endpoint as it was found. Pure.

    Args:
        found: DescribeEndpoint's answer; None when there is no such endpoint.
        wanted_config: name of the endpoint config that it shall have.
        may_replace: whether a failed endpoint may be deleted and created anew.

    Raises:
        SlipwayError: the endpoint can be neither left, nor updated, nor waited for; see `ensure_endpoint`.
    """
    if found is None:
        return "create"
    status, config = found["EndpointStatus"], found.get("EndpointConfigName", "")
    if status == "InService":
        return "keep" if config == wanted_config else "update"
    if status == "Deleting":
        return "wait_until_gone"
    if status == "Failed" and may_replace:
        return "replace"
    outcome = endpoint_outcome(found, wanted_config)
    if outcome.error is not None:
        raise outcome.error
    heading_for = (found.get("PendingDeploymentSummary") or {}).get("EndpointConfigName") or config
    if heading_for == wanted_config:
        return "wait"
    raise _not_ours(found["EndpointName"], status, heading_for, wanted_config)


def _not_ours(endpoint: str, status: str, heading_for: str, wanted_config: str) -> SlipwayError:
    if status == "SystemUpdating":
        return AwsUnavailableError(
            f"AWS maintains {endpoint}; it cannot be updated to {wanted_config} until that is done. Try again later."
        )
    return EndpointBusyError(
        f"{endpoint} is {status} on its way to {heading_for}, expected {wanted_config} or no change under way: "
        "somebody else is changing it. Run the task again when that is done."
    )


def _ensure_parts(sagemaker: SageMakerClient, wanted: WantedEndpoint, sleep: Sleep) -> list[str]:
    made = [
        f"model {request['ModelName']}"
        for request in wanted.models
        if ensure_resource(sagemaker, "model", request, sleep=sleep)
    ]
    if ensure_resource(sagemaker, "endpoint config", wanted.config, sleep=sleep):
        made.append(f"endpoint config {wanted.config_name}")
    return made


def _act(
    sagemaker: SageMakerClient,
    wanted: WantedEndpoint,
    found: Description | None,
    step: Step,
    made: tuple[str, ...],
    sleep: Sleep,
) -> LaunchAction | None:
    """Take one step; None when the endpoint changed under our hands and has to be looked at again."""
    if found is None:
        done = _create(sagemaker, wanted, sleep)
        return LaunchAction("created", wanted.name, wanted.config_name, made=made) if done else None
    if step == "keep":
        ensure_tags(sagemaker, found["EndpointArn"], wanted.tags)
        return LaunchAction("unchanged", wanted.name, wanted.config_name, made=made)
    if step == "wait":
        return LaunchAction("waiting", wanted.name, wanted.config_name, made=made)
    if not _update(sagemaker, wanted, sleep):
        return None
    return LaunchAction(
        "updated",
        wanted.name,
        wanted.config_name,
        previous_config=found["EndpointConfigName"],
        since=found["LastModifiedTime"],
        made=made,
    )


def _create(sagemaker: SageMakerClient, wanted: WantedEndpoint, sleep: Sleep) -> bool:
    with aws_call(f"create endpoint {wanted.name}"):
        try:
            when_consistent(lambda: sagemaker.create_endpoint(**wanted.create_request()), sleep)
        except ClientError as error:
            if is_duplicate(error):
                return False
            raise
    return True


def _update(sagemaker: SageMakerClient, wanted: WantedEndpoint, sleep: Sleep) -> bool:
    what = f"update endpoint {wanted.name} to {wanted.config_name}"
    with aws_call(what):
        try:
            sagemaker.update_endpoint(**wanted.update_request())
        except ClientError as error:
            if isinstance(translate(error, what=what), EndpointBusyError):
                sleep(1.0)
                return False
            raise
    return True


def _remove_failed(sagemaker: SageMakerClient, found: Description, record: Record, sleep: Sleep) -> None:
    """Deleting is all that can be done with a failed endpoint; it serves nobody."""
    name = found["EndpointName"]
    if found["EndpointStatus"] != "Failed":
        raise EndpointFailedError(f"{name} is {found['EndpointStatus']}; only a failed endpoint is replaced.")
    restore = {"EndpointName": name, "EndpointConfigName": found.get("EndpointConfigName", "")}
    record(Removal("endpoint", name, restore))
    delete(sagemaker, "endpoint", name)
    wait_until_gone(sagemaker, name, sleep)
