"""What an undeployment takes away: the endpoint of one service and stage, and what it was made of. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slipway.errors import EndpointBusyError, ResourceConflictError
from slipway.housekeeping.inventory import SERVICE_TAG, STAGE_TAG, Inventory, Resource
from slipway.state import EndpointState
from slipway.transition import when_run_is_gone


@dataclass(frozen=True)
class Undeployment:
    """What goes, and what stays though it is the service's.

    Args:
        resources: endpoint, endpoint configs and models, in the order in which AWS lets them go.
        kept: configs and models that something else refers to.
    """

    resources: tuple[Resource, ...]
    kept: tuple[Resource, ...]


def find_undeployment(inventory: Inventory, service: str, stage: str, endpoint: str) -> Undeployment:
    """Choose what goes.

    Configs and models are found by their tags, not through the endpoint: a run that was killed after it deleted the
    endpoint finds the rest.

    Args:
        inventory: what there is.
        service: the service.
        stage: ``dev`` or ``prod``.
        endpoint: name of its endpoint in that stage.

    Raises:
        ResourceConflictError: an endpoint of that name is there that Slipway did not make for this service.
    """
    ours = [each for each in inventory.endpoints if each.name == endpoint]
    for each in ours:
        if not _is_of(each, service, stage):
            raise ResourceConflictError(
                f"Endpoint {endpoint} does not have the tags {SERVICE_TAG}={service} and {STAGE_TAG}={stage}, found "
                f"{dict(each.tags) or 'none of ours'}: Slipway did not make it and leaves it alone. Nothing was "
                "deleted. Delete it by hand if it is not needed, or tag it."
            )
    used = _references(each for each in inventory.endpoints if each.name != endpoint)
    configs = [each for each in inventory.configs if _is_of(each, service, stage)]
    going = [each for each in configs if each.name not in used]
    names = {each.name for each in going}
    used_models = _references(each for each in inventory.configs if each.name not in names)
    models = [each for each in inventory.models if _is_of(each, service, stage)]
    leaving = [each for each in models if each.name not in used_models]
    kept = (
        *(each for each in configs if each.name in used),
        *(each for each in models if each.name in used_models),
    )
    return Undeployment((*ours, *going, *leaving), kept)


def require_idle(state: EndpointState | None) -> None:
    """Refuse while a promotion is under way: its way back must not be deleted under it.

    Raises:
        EndpointBusyError: there is one.
    """
    if state is None or state.promotion is None:
        return
    service = state.endpoint.rpartition("-")[0]
    raise EndpointBusyError(
        f"{state.endpoint}: release {state.promotion.release_id} is being promoted by {state.promotion.run_id}. "
        f"Nothing was deleted. Let it end, or take it back with `slipway abort {service}`; then undeploy. "
        f"{when_run_is_gone(state)}"
    )


def is_undeployed(state: EndpointState | None, holder: str) -> bool:
    """Tell whether the state says that nothing is deployed, and ``holder`` is not in the middle of saying so.

    Args:
        state: the endpoint's state.
        holder: the run that asks; while it holds the lease it has not come to its end.
    """
    if state is None:
        return True
    at_work = state.lease is not None and state.lease.holder == holder
    return not (at_work or state.champion or state.previous or state.approved)


def _references(resources: Iterator[Resource]) -> set[str]:
    return {name for each in resources for name in each.refers_to}


def _is_of(resource: Resource, service: str, stage: str) -> bool:
    return resource.service == service and resource.tags.get(STAGE_TAG) == stage
