"""Users of the endpoint: single flights at a steady rate, each answer noted with the variant that gave it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from demo.production import payload
from demo.stage import Stage

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

#: Requests a second, all clients together: the judge's sample at a quarter of the traffic in ten seconds.
PER_SECOND = 150.0
_CLIENTS = 4


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and answered (Unix seconds), by which variant, and the error if there was one."""

    sent: float
    at: float
    variant: str | None
    error: str | None


@dataclass
class Traffic:
    """Requests so far; safe to read while they go on."""

    answers: list[Answer] = field(default_factory=list)

    def since(self, moment: float) -> list[Answer]:
        """Answers from a moment on (Unix seconds)."""
        return [answer for answer in list(self.answers) if answer.at >= moment]

    def shares(self, seconds: float = 3.0) -> dict[str, float]:
        """Each variant's share of the last seconds' answers."""
        recent = [answer.variant for answer in self.since(time.time() - seconds) if answer.variant]
        return {name: recent.count(name) / len(recent) for name in sorted(set(recent))}


@contextlib.contextmanager
def live_traffic(stage: Stage, endpoint: str, rows: pd.DataFrame) -> Iterator[Traffic]:
    """Calls the endpoint steadily until the block ends.

    Args:
        stage: The running stack.
        endpoint: The endpoint.
        rows: Flights, sent one by one, over and over.
    """
    bodies = [json.dumps(payload(rows[number : number + 1])).encode() for number in range(len(rows))]
    traffic, stop = Traffic(), threading.Event()
    clients = [
        threading.Thread(
            target=_send,
            args=(stage.aws("sagemaker-runtime"), endpoint, bodies[each::_CLIENTS], traffic, stop),
        )
        for each in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        yield traffic
    finally:
        stop.set()
        for client in clients:
            client.join()


def _send(runtime: Any, endpoint: str, bodies: list[bytes], traffic: Traffic, stop: threading.Event) -> None:
    pause = _CLIENTS / PER_SECOND
    due, number = time.monotonic(), 0
    while not stop.is_set():
        traffic.answers.append(_ask(runtime, endpoint, bodies[number % len(bodies)]))
        number += 1
        due = max(due + pause, time.monotonic())  # after a slow answer it does not catch up in a burst
        stop.wait(due - time.monotonic())


def _ask(runtime: Any, endpoint: str, body: bytes) -> Answer:
    sent = time.time()
    try:
        response = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Body=body)
        response["Body"].read()
    except ClientError as error:
        # A refusal of the model's own does not tell which variant it comes from.
        return Answer(sent, time.time(), None, error.response["Error"].get("Message") or type(error).__name__)
    except BotoCoreError as error:
        return Answer(sent, time.time(), None, str(error))
    return Answer(sent, time.time(), response.get("InvokedProductionVariant"), None)
