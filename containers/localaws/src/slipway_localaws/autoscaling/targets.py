"""Scalable targets and policies: what moto's Application Auto Scaling answers differently from AWS.

https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-scaling-update.html
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import (
    ApplicationAutoscalingBackend,
    FakeApplicationAutoscalingPolicy,
    FakeScalableTarget,
    applicationautoscaling_backends,
)
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.sagemaker.exceptions import AWSValidationException as SageMakerValidationException
from moto.sagemaker.models import sagemaker_backends

from slipway_localaws.hosting.plan import DeploymentPlan
from slipway_localaws.patching import add_action, replace
from slipway_localaws.sagemaker.records import HostedEndpoint

NAMESPACE = "sagemaker"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
_KEPT_ACTIVITIES = 200
_NOT_SUSPENDED = {
    "DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False, "ScheduledScalingSuspended": False,
}  # fmt: skip


class ObjectNotFoundException(ServiceException):
    """There is no such scalable target."""

    code = "ObjectNotFoundException"


def resource_id(endpoint: str, variant: str) -> str:
    """ResourceId of a variant."""
    return f"endpoint/{endpoint}/variant/{variant}"


def find_variant(backend: ApplicationAutoscalingBackend, resource: str) -> tuple[HostedEndpoint, str]:
    """The endpoint and variant that a ResourceId names.

    Raises:
        AWSValidationException: there is no such variant.
    """
    parts = resource.split("/")
    endpoints = sagemaker_backends[backend.account_id][backend.region_name].endpoints
    endpoint = endpoints.get(parts[1]) if len(parts) == 4 else None
    if not isinstance(endpoint, HostedEndpoint) or parts[3] not in endpoint.variants:
        raise AWSValidationException(f"Unable to find the SageMaker endpoint variant of resource ID: {resource}")
    return endpoint, parts[3]


def targets_of(endpoint: HostedEndpoint) -> dict[str, FakeScalableTarget]:
    """An endpoint's registered targets by variant."""
    key = endpoint.key
    registered = applicationautoscaling_backends[key.account][key.region].targets.get(DIMENSION, {})
    prefix = f"endpoint/{key.name}/variant/"
    return {each.removeprefix(prefix): target for each, target in registered.items() if each.startswith(prefix)}


def check_update(endpoint: HostedEndpoint, plan: DeploymentPlan) -> None:
    """Refuse an update that would take a registered variant away or change its instance type.

    Raises:
        SageMakerValidationException: it would.
    """
    coming = {variant.name: variant for variant in plan.variants}
    for name in targets_of(endpoint):
        running = endpoint.variants.get(name)
        if running is None:
            continue
        if name not in coming or coming[name].instance_type != running.plan.instance_type:
            raise SageMakerValidationException(
                f'The variant "{name}" of endpoint "{endpoint.arn}" is a target for automatic scaling. Deregister it '
                "before you remove the variant or change its instance type."
            )


def deregister_all(endpoint: HostedEndpoint) -> None:
    """Forget an endpoint's targets and policies: deleting an endpoint does."""
    backend = applicationautoscaling_backends[endpoint.key.account][endpoint.key.region]
    for name in list(targets_of(endpoint)):
        _forget(backend, resource_id(endpoint.endpoint_name, name), DIMENSION)


def policies_of(backend: ApplicationAutoscalingBackend, resource: str) -> list[FakeApplicationAutoscalingPolicy]:
    """The policies of one target."""
    return [policy for policy in backend.policies.values() if policy.resource_id == resource]


def activities(backend: ApplicationAutoscalingBackend) -> list[dict[str, Any]]:
    """Scaling activities, oldest first; kept on moto's backend so that they are saved with it."""
    if not hasattr(backend, "activities"):
        backend.activities = []  # type: ignore[attr-defined]
    found: list[dict[str, Any]] = backend.activities  # type: ignore[attr-defined]
    return found


def record_activity(backend: ApplicationAutoscalingBackend, resource: str, capacity: int, cause: str) -> None:
    """Add a successful activity."""
    at = datetime.now(UTC).timestamp()
    activities(backend).append({
        "ActivityId": str(uuid.uuid4()), "ServiceNamespace": NAMESPACE, "ResourceId": resource,
        "ScalableDimension": DIMENSION, "Description": f"Setting desired instance count to {capacity}.", "Cause": cause,
        "StartTime": at, "EndTime": at, "StatusCode": "Successful",
        "StatusMessage": f"Successfully set desired instance count to {capacity}.",
    })  # fmt: skip
    del activities(backend)[:-_KEPT_ACTIVITIES]


def install() -> None:
    """Put the checks in front of moto's actions."""
    register = ApplicationAutoscalingBackend.register_scalable_target
    deregister = ApplicationAutoscalingBackend.deregister_scalable_target
    put_policy = ApplicationAutoscalingBackend.put_scaling_policy

    def register_scalable_target(self: ApplicationAutoscalingBackend, *args: Any, **kwargs: Any) -> FakeScalableTarget:
        namespace, resource, dimension = args
        if namespace == NAMESPACE and dimension == DIMENSION:
            _check_registration(self, resource, kwargs)
        target = register(self, *args, **kwargs)
        target.suspended_state = {**_NOT_SUSPENDED, **(target.suspended_state or {})}  # type: ignore[dict-item,assignment]
        target.role_arn = target.role_arn or _service_role(self.account_id)
        return target

    def deregister_scalable_target(
        self: ApplicationAutoscalingBackend, namespace: str, r_id: str, dimension: str
    ) -> None:
        if r_id not in self.targets.get(dimension, {}):
            raise ObjectNotFoundException(_no_target(namespace, r_id, dimension))
        deregister(self, namespace, r_id, dimension)
        _forget(self, r_id, dimension)

    def put_scaling_policy(self: ApplicationAutoscalingBackend, **kwargs: Any) -> FakeApplicationAutoscalingPolicy:
        resource, dimension = kwargs["resource_id"], kwargs["scalable_dimension"]
        if resource not in self.targets.get(dimension, {}):
            raise ObjectNotFoundException(_no_target(kwargs["service_namespace"], resource, dimension))
        return put_policy(self, **kwargs)

    replace(ApplicationAutoscalingBackend, "register_scalable_target", register_scalable_target)
    replace(ApplicationAutoscalingBackend, "deregister_scalable_target", deregister_scalable_target)
    replace(ApplicationAutoscalingBackend, "put_scaling_policy", put_scaling_policy)
    add_action(ApplicationAutoScalingResponse, "describe_scaling_activities", _describe_scaling_activities)


def _check_registration(backend: ApplicationAutoscalingBackend, resource: str, request: dict[str, Any]) -> None:
    find_variant(backend, resource)
    known = backend.targets.get(DIMENSION, {}).get(resource)
    least = request.get("min_capacity")
    most = request.get("max_capacity")
    if known is None and (least is None or most is None):
        raise AWSValidationException("MinCapacity and MaxCapacity are required to register a scalable target")
    least = known.min_capacity if least is None and known is not None else least
    most = known.max_capacity if most is None and known is not None else most
    if least is not None and most is not None and least > most:
        raise AWSValidationException("Maximum capacity cannot be less than minimum capacity")


def _describe_scaling_activities(self: ApplicationAutoScalingResponse) -> str:
    resource = self._get_param("ResourceId")
    found = [
        each
        for each in reversed(activities(self.applicationautoscaling_backend))
        if each["ServiceNamespace"] == self._get_param("ServiceNamespace") and resource in {None, each["ResourceId"]}
    ]
    return json.dumps({"ScalingActivities": found[: int(self._get_param("MaxResults") or 50)]})


def _forget(backend: ApplicationAutoscalingBackend, resource: str, dimension: str) -> None:
    backend.targets.get(dimension, {}).pop(resource, None)
    for key, policy in list(backend.policies.items()):
        if (policy.resource_id, policy.scalable_dimension) == (resource, dimension):
            del backend.policies[key]


def _no_target(namespace: str, resource: str, dimension: str) -> str:
    return (
        f"No scalable target found for service namespace: {namespace}, resource ID: {resource}, scalable dimension: "
        f"{dimension}"
    )


def _service_role(account: str) -> str:
    path = f"aws-service-role/{NAMESPACE}.application-autoscaling.amazonaws.com"
    return f"arn:aws:iam::{account}:role/{path}/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
