"""What a description of an endpoint means for whoever wanted a certain config on it. Pure.

Every ``EndpointStatus`` of the API is judged here, once, for tasks that wait and tasks that are deferred. The trap is
``InService``: after an update that SageMaker rolled back by itself, the endpoint is in service on the *old* config,
often without a FailureReason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from slipway.aws_errors import is_capacity_reason
from slipway.errors import (
    CapacityError,
    EndpointBusyError,
    EndpointFailedError,
    EndpointMissingError,
    EndpointRollbackFailedError,
    EndpointRolledBackError,
    SlipwayError,
)

Description = Mapping[str, Any]


class OutcomeName(StrEnum):
    """What to do: wait, go on, or give up."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """The judgement.

    Args:
        name: wait, go on, or give up.
        message: in words, for logs.
        error: what to raise when it failed, else None.
    """

    name: OutcomeName
    message: str
    error: SlipwayError | None = None

    @property
    def pending(self) -> bool:
        """Whether to look again later."""
        return self.name is OutcomeName.PENDING

    def raise_if_failed(self) -> None:
        """Raise the error of a failed outcome."""
        if self.error is not None:
            raise self.error


@dataclass(frozen=True)
class _Look:
    endpoint: str
    status: str
    config: str
    pending_config: str | None
    reason: str
    wanted: str
    begun: bool

    @property
    def said(self) -> str:
        return f" AWS says: {self.reason}" if self.reason else " AWS gives no reason."


def endpoint_outcome(description: Description | None, wanted_config: str, *, since: datetime | None = None) -> Outcome:
    """Judge whether the endpoint has come to the wanted config, may still come to it, or will not.

    Args:
        description: DescribeEndpoint's answer; None when there is no such endpoint.
        wanted_config: name of the endpoint config that it shall have.
        since: the endpoint's LastModifiedTime before the update was asked for. While it has not changed, the update
            has not begun and the old config is no rollback. None: the update has begun, or it is a new endpoint.

    Returns:
        PENDING, READY, or FAILED with the error to raise.
    """
    if description is None:
        missing = EndpointMissingError(
            f"The endpoint that should run {wanted_config} does not exist any more; somebody deleted it. "
            "Run the task again to create it."
        )
        return Outcome(OutcomeName.FAILED, "gone", missing)
    look = _Look(
        endpoint=description["EndpointName"],
        status=description["EndpointStatus"],
        config=description.get("EndpointConfigName", ""),
        pending_config=(description.get("PendingDeploymentSummary") or {}).get("EndpointConfigName"),
        reason=description.get("FailureReason") or "",
        wanted=wanted_config,
        begun=since is None or description["LastModifiedTime"] != since,
    )
    return _JUDGES.get(look.status, _unknown)(look)


def _in_service(look: _Look) -> Outcome:
    if look.config == look.wanted:
        return Outcome(OutcomeName.READY, f"{look.endpoint} is InService on {look.config}.")
    if not look.begun:
        return _pending(look, "its update has not begun")
    if is_capacity_reason(look.reason):
        return _failed(
            look, CapacityError, f"went back to {look.config} because AWS has no instances for {look.wanted}."
        )
    return _failed(
        look,
        EndpointRolledBackError,
        f"is InService on {look.config}, expected {look.wanted}: SageMaker rolled the update back by itself, or "
        "somebody else changed the endpoint. The old config serves; look at the new containers' logs.",
    )


def _creating(look: _Look) -> Outcome:
    if look.config == look.wanted:
        return _pending(look, f"is being created with {look.config}")
    return _failed(look, EndpointBusyError, f"is being created with {look.config}, expected {look.wanted}.")


def _updating(look: _Look) -> Outcome:
    heading_for = look.pending_config or look.config
    if look.wanted in {look.pending_config, look.config} or look.pending_config is None:
        return _pending(look, f"is on its way to {heading_for}")
    return _failed(
        look, EndpointBusyError, f"is being updated to {heading_for} by somebody else, expected {look.wanted}."
    )


def _maintained(look: _Look) -> Outcome:
    return _pending(look, "AWS maintains it; it cannot be changed meanwhile")


def _rolling_back(look: _Look) -> Outcome:
    return _pending(look, "SageMaker rolls a change back")


def _deleting(look: _Look) -> Outcome:
    return _failed(look, EndpointMissingError, "is being deleted. Run the task again when it is gone.")


def _broken(look: _Look) -> Outcome:
    if is_capacity_reason(look.reason):
        return _failed(look, CapacityError, "failed because AWS has no such instances. Try later or take another type.")
    return _failed(look, EndpointFailedError, "failed. Only deleting is possible now; see the container's log.")


def _out_of_service(look: _Look) -> Outcome:
    return _failed(look, EndpointFailedError, "is OutOfService: it takes no requests.")


def _rollback_failed(look: _Look) -> Outcome:
    return _failed(
        look,
        EndpointRollbackFailedError,
        "runs old and new instances side by side: an update failed, and so did its rollback. Update it by hand to a "
        f"config that is known to work (now: {look.config}), then run the task again.",
    )


def _unknown(look: _Look) -> Outcome:
    known = ", ".join(sorted(_JUDGES))
    return _failed(look, EndpointFailedError, f"has status {look.status!r}; this version of Slipway knows {known}.")


def _pending(look: _Look, why: str) -> Outcome:
    return Outcome(OutcomeName.PENDING, f"{look.endpoint} is {look.status}: {why}.")


def _failed(look: _Look, kind: type[SlipwayError], what: str) -> Outcome:
    message = f"{look.endpoint} {what}{look.said}"
    return Outcome(OutcomeName.FAILED, message, kind(message))


_JUDGES: dict[str, Callable[[_Look], Outcome]] = {
    "Creating": _creating,
    "Deleting": _deleting,
    "Failed": _broken,
    "InService": _in_service,
    "OutOfService": _out_of_service,
    "RollingBack": _rolling_back,
    "SystemUpdating": _maintained,
    "UpdateRollbackFailed": _rollback_failed,
    "Updating": _updating,
}
