"""A training that runs elsewhere: what every kind of it can do, and how one is seen through.

The training belongs to a DAG run, not to the task that started it. A worker that dies leaves it running; whoever comes
next finds it by its name, takes its result when it is done, and begins another only after it failed or was stopped.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from slipway.errors import InvalidInputError, PermanentError, SlipwayError, TransientError

POLL_SECONDS = 15.0
#: Looks in a row that may fail before the task gives up; the training goes on, and the task's next try finds it.
_MOST_FAILED_LOOKS = 8
_LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")


class Phase(enum.Enum):
    """How far a training is."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class RemoteState:
    """A training as it was found.

    Args:
        phase: How far it is.
        detail: The same in the words of whoever runs it, such as ``Downloading``.
        error: What to raise for it; only when it failed or was stopped.
    """

    phase: Phase
    detail: str = ""
    error: SlipwayError | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self.phase in {Phase.SUCCEEDED, Phase.FAILED, Phase.STOPPED}


class RemoteTraining(Protocol):
    """One run's training, on something that is not this machine."""

    @property
    def name(self) -> str:
        """What the training of the last ``start`` is called there, for messages."""

    def start(self) -> RemoteState:
        """Find this run's training, or begin it; call it again at will.

        A training that is under way, or got to its end, is taken as it is. After one that failed or was stopped another
        one begins.

        Returns:
            Its state. ``STOPPING``: nothing was begun, since the one before is just being stopped.

        Raises:
            SlipwayError: It cannot be started.
        """

    def look(self) -> RemoteState:
        """Ask how far it is.

        Raises:
            SlipwayError: Nobody answers.
        """

    def new_lines(self) -> Sequence[str]:
        """What it printed since the last call; all of it at the first.

        Raises:
            SlipwayError: Its log cannot be read.
        """

    def stop(self) -> None:
        """Ask for its end, without waiting for it; nothing happens when it has ended or never began.

        Raises:
            SlipwayError: Nobody answers.
        """

    def result(self) -> dict[str, Any]:
        """The result document of a training that succeeded.

        Raises:
            SlipwayError: It cannot be read, or is none.
        """


def see_through(
    training: RemoteTraining,
    on_line: Callable[[str], None],
    *,
    poll_seconds: float = POLL_SECONDS,
    pause: Callable[[float], None] = time.sleep,
    on_start: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Start a training, or find it, and stay with it to its end.

    Args:
        training: The training.
        on_line: Is given each line that it prints, and each change of its state.
        poll_seconds: Between two looks.
        pause: Waits so many seconds.
        on_start: Called when there is a training, before it is waited for.

    Returns:
        Its result document.

    Raises:
        PermanentError: It failed for a reason that would make it fail again.
        TransientError: It failed or cannot be watched, and may be tried again.
    """
    state = training.start()
    while state.phase is Phase.STOPPING:
        on_line(f"{training.name} is being stopped; another training begins after it")
        pause(poll_seconds)
        state = training.start()
    on_start()
    watch = _Watch(training, on_line)
    watch.told(state)
    while not state.ended:
        pause(poll_seconds)
        state = watch.look() or state
        watch.pass_on()
        watch.told(state)
    watch.pass_on()
    if state.phase is Phase.SUCCEEDED:
        return training.result()
    raise state.error or PermanentError(f"{training.name}: {state.phase.value} {state.detail}".rstrip())


class _Watch:
    """Keeps an eye on a training: a look or a log that fails for a moment does not end the task."""

    def __init__(self, training: RemoteTraining, on_line: Callable[[str], None]) -> None:
        self._training = training
        self._on_line = on_line
        self._failed_looks = 0
        self._log_complaint = ""
        self._told = ""

    def look(self) -> RemoteState | None:
        """Its state; None when nobody answered this time."""
        try:
            state = self._training.look()
        except TransientError as error:
            self._failed_looks += 1
            if self._failed_looks >= _MOST_FAILED_LOOKS:
                raise
            self._on_line(f"{error} It is looked at again.")
            return None
        self._failed_looks = 0
        return state

    def pass_on(self) -> None:
        """Pass on what it printed; a log that cannot be read is told once, and the training goes on."""
        try:
            for line in self._training.new_lines():
                self._on_line(line)
        except SlipwayError as error:
            if str(error) != self._log_complaint:
                self._log_complaint = str(error)
                self._on_line(f"Its log cannot be read: {error}")

    def told(self, state: RemoteState) -> None:
        """Tell of its state when that is news."""
        text = f"{state.phase.value}, {state.detail}" if state.detail else state.phase.value
        if text != self._told:
            self._told = text
            self._on_line(f"{self._training.name}: {text}")


def require_reachable_mlflow(
    tracking_uri: str, *, has_credentials: bool, secret: str | None, aws_endpoint_url: str | None
) -> None:
    """Refuse a training elsewhere that could not log to MLflow, before anything is started.

    Args:
        tracking_uri: MLflow, as Airflow's connection has it.
        has_credentials: Whether that connection has a login, password or token.
        secret: The secret with the training's own credentials; None when the spec names none.
        aws_endpoint_url: AWS, when it is not AWS's own: a stand-in on this machine trains on this machine.

    Raises:
        InvalidInputError: The training could not reach MLflow, or not log in.
    """
    if has_credentials and not secret:
        raise InvalidInputError(
            "The Airflow connection of MLflow has credentials, and the training runs elsewhere, where they must not "
            "travel in a job's description. Put them into AWS Secrets Manager, as "
            '{"username": "…", "password": "…"} or {"token": "…"}, and name that secret as mlflow_secret in '
            "retrain.compute."
        )
    if _is_here(aws_endpoint_url):
        return
    place = urlsplit(tracking_uri)
    if place.scheme not in {"http", "https"} or _is_here(tracking_uri):
        raise InvalidInputError(
            f"The training runs elsewhere and cannot reach MLflow at {tracking_uri}; expected an address such as "
            "https://mlflow.example.com in the Airflow connection of MLflow."
        )


def _is_here(url: str | None) -> bool:
    host = (urlsplit(url).hostname or "") if url else ""
    return host.startswith(_LOOPBACK)
