"""SQS long polling that does not hold the lock while it waits.

https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html
"""

from __future__ import annotations

import time
from typing import Any

from moto.sqs.models import SQSBackend

from slipway_localaws.patching import MOTO_LOCK, replace

_POLL_SECONDS = 0.1


def install() -> None:
    """Put a patient ReceiveMessage in the place of moto's, which spins."""
    receive = SQSBackend.receive_message

    def receive_message(
        self: SQSBackend,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> Any:
        deadline = time.monotonic() + wait_seconds_timeout
        while True:
            messages = receive(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
            if messages or time.monotonic() >= deadline:
                return messages
            MOTO_LOCK.release()
            try:
                time.sleep(_POLL_SECONDS)
            finally:
                MOTO_LOCK.acquire()

    replace(SQSBackend, "receive_message", receive_message)
