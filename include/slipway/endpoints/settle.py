"""Wait until nothing changes an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slipway.endpoints.outcome import Description
from slipway.endpoints.resource import Sleep, describe
from slipway.errors import EndpointBusyError, EndpointMissingError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

#: Weights are often in force within a second or two; a new fleet takes minutes.
_FIRST_POLL_SECONDS = 0.5
_LONGEST_POLL_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 75 * 60.0
_MOVING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})


def keeps_its_config(found: Description) -> bool:
    """Tell whether an endpoint is changing, but not to another config: it scales, or AWS maintains it.

    Only updates to another config have a summary of what is pending
    (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html).
    """
    return found["EndpointStatus"] in _MOVING - {"Creating"} and not found.get("PendingDeploymentSummary")


def settled(
    sagemaker: SageMakerClient, endpoint: str, sleep: Sleep, *, since: Description | None = None
) -> Description:
    """Wait until an endpoint is in a state that it stays in.

    Args:
        sagemaker: a boto3 SageMaker client.
        endpoint: the endpoint's name.
        sleep: waits, in seconds.
        since: the description before a change that was just asked for. AWS's reads lag behind its writes, so an
            endpoint that looks as before has not begun to change.

    Returns:
        DescribeEndpoint's answer, whatever its status; see `endpoint_outcome`.

    Raises:
        EndpointMissingError: the endpoint is gone.
        EndpointBusyError: it does not settle.
        SlipwayError: AWS does not answer or refuses.
    """
    waited, pause = 0.0, _FIRST_POLL_SECONDS
    while waited <= _LONGEST_WAIT_SECONDS:
        found = describe(sagemaker, "endpoint", endpoint)
        if found is None:
            raise EndpointMissingError(
                f"{endpoint} does not exist any more, so nothing can be changed or put back. Deploy the champion's "
                "release again."
            )
        begun = since is None or found["LastModifiedTime"] != since["LastModifiedTime"]
        if begun and found["EndpointStatus"] not in _MOVING:
            return found
        sleep(pause)
        waited += pause
        pause = min(_LONGEST_POLL_SECONDS, pause * 1.5)
    raise EndpointBusyError(f"{endpoint} has been changing for {_LONGEST_WAIT_SECONDS / 60:.0f} minutes.")
