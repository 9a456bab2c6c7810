"""Watching a canary's step without holding a worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from slipway.errors import SlipwayError, TransientError
from slipway_airflow.canary_watch import Watch, WatchRequest, open_watch
from slipway_airflow.hooks.slipway_aws import SlipwayAwsHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CanaryStepTrigger(BaseTrigger):
    """Fires when a step of a canary is decided.

    The looks themselves happen here: each is written into the state and the ledger, so that a triggerer that dies
    loses nothing.

    :param request: See :class:`slipway_airflow.canary_watch.WatchRequest`, as a dict.
    :param poll_seconds: Time in seconds between two reads of the flags. (default: 3)
    :param aws_conn_id: The Airflow connection of the endpoint's account. (default: aws_default)
    :param bucket_conn_id: The Airflow connection of the artifact bucket; ``aws_conn_id`` when None.
    :param region_name: AWS region; the connection's when None.
    :param verify: Whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: Configuration of the botocore clients.
    """

    #: Failures in a row, each a poll apart, before the watch gives up and the task decides.
    MAX_FAILURES = 100

    def __init__(
        self,
        *,
        request: dict[str, Any],
        poll_seconds: float = 3.0,
        aws_conn_id: str | None = "aws_default",
        bucket_conn_id: str | None = None,
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.request = request
        self.poll_seconds = poll_seconds
        self.aws_conn_id = aws_conn_id
        self.bucket_conn_id = bucket_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "request": self.request,
                "poll_seconds": self.poll_seconds,
                "aws_conn_id": self.aws_conn_id,
                "bucket_conn_id": self.bucket_conn_id,
                "region_name": self.region_name,
                "verify": self.verify,
                "botocore_config": self.botocore_config,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Tick until the step is decided."""
        watch: Watch | None = None
        failures = 0
        while True:
            # Also before the first tick: a trigger that fires within about a second of the deferral can overtake
            # the executor's own report and have the task marked failed (apache/airflow#71580).
            await asyncio.sleep(self.poll_seconds)
            try:
                watch = watch or await sync_to_async(self._open, thread_sensitive=False)()
                decision = await sync_to_async(watch.tick, thread_sensitive=False)()
                failures = 0
            except TransientError as error:
                failures += 1
                self.log.warning("A look failed (%d in a row): %s", failures, error)
                if failures >= self.MAX_FAILURES:
                    yield _event({"status": "error", "error": type(error).__name__, "message": str(error)})
                    return
                continue
            except SlipwayError as error:
                yield _event({"status": "error", "error": type(error).__name__, "message": str(error)})
                return
            if decision is not None:
                yield _event({"status": "success", "action": str(decision.action), "reason": decision.reason})
                return

    def _open(self) -> Watch:
        hook = self._hook(self.aws_conn_id)
        bucket_hook = self._hook(self.bucket_conn_id) if self.bucket_conn_id else hook
        return open_watch(WatchRequest(**self.request), hook, bucket_hook)

    def _hook(self, conn_id: str | None) -> SlipwayAwsHook:
        return SlipwayAwsHook(
            aws_conn_id=conn_id, region_name=self.region_name, verify=self.verify, config=self.botocore_config
        )


def _event(payload: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]
