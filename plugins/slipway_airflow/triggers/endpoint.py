"""Waiting for an endpoint without holding a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.exceptions import WaiterMaxAttemptsError
from airflow.providers.amazon.aws.triggers.base import AwsBaseWaiterTrigger
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class EndpointSettledTrigger(AwsBaseWaiterTrigger):
    """Fires when SageMaker has stopped changing an endpoint, whatever came of it.

    :param endpoint_name: Name of the endpoint.
    :param waiter_delay: Time in seconds between two looks, and before the first. (default: 10)
    :param waiter_max_attempts: Number of looks before giving up. (default: 450)
    :param aws_conn_id: The Airflow connection used for AWS credentials. (default: aws_default)
    :param region_name: AWS region; the connection's when None.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: Configuration of the botocore client.
    """

    aws_hook_class = SlipwayAwsHook

    def __init__(
        self,
        *,
        endpoint_name: str,
        waiter_delay: int = 10,
        waiter_max_attempts: int = 450,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            serialized_fields={"endpoint_name": endpoint_name},
            waiter_name="endpoint_settled",
            waiter_args={"EndpointName": endpoint_name},
            failure_message=f"Endpoint {endpoint_name} cannot be read",
            status_message=f"Endpoint {endpoint_name} is",
            status_queries=["EndpointStatus", "FailureReason"],
            return_key="endpoint_name",
            return_value=endpoint_name,
            waiter_delay=waiter_delay,
            waiter_max_attempts=waiter_max_attempts,
            aws_conn_id=aws_conn_id,
            region_name=region_name,
            verify=verify,
            botocore_config=botocore_config,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then tell that the endpoint has settled, or why that cannot be said."""
        # A trigger that fires within about a second of the task's deferral can overtake the executor's own report
        # and have the task marked failed (apache/airflow#71580), so the first look comes one delay later.
        await asyncio.sleep(self.waiter_delay)
        try:
            async for event in super().run():
                yield event
        except (BotoCoreError, ClientError) as error:
            yield self._failed(error)

    def _event_from_exception(self, error: AirflowException) -> TriggerEvent:
        return self._failed(error)

    def _failed(self, error: Exception) -> TriggerEvent:
        """Tell why, and whether the endpoint was read to the end of the time: only then it has not settled in it."""
        return TriggerEvent(  # type: ignore[no-untyped-call]
            {
                "status": "error",
                "message": str(error),
                "timed_out": isinstance(error, WaiterMaxAttemptsError),
                self.return_key: self.return_value,
            }
        )
