"""The commands of the trainer: what each runs, what its end means, and how its result is kept."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from slipway_trainer.foreign import explain
from slipway_trainer.job import Job
from slipway_trainer.mlflow_login import log_in
from slipway_trainer.problem import BadDataError, TrainingError, UnavailableError

COMMANDS = ("train", "validate", "propose", "prepare", "land", "call")


def run(command: str, job: Job) -> dict[str, Any]:
    """Run one of :data:`COMMANDS`; returns its result document.

    Raises:
        TrainingError: Data, model or job are not what they should be.
        UnavailableError: A service does not answer.
    """
    if job.mlflow_secret:
        log_in(job.mlflow_secret, job.region)
    if command == "train":
        from slipway_trainer.training import train

        return train(job)
    if command == "prepare":
        from slipway_trainer.prepare import prepare

        return prepare(job)
    if command == "land":
        from slipway_trainer.spark.landing import land

        return land(job)
    if command == "call":
        from slipway_trainer.spark.call import call

        return call(job)
    if command == "propose":
        from slipway_trainer.proposal import propose_suite

        return propose_suite(job)
    from slipway_trainer.validation import validate

    return validate(job)


def reason(error: Exception) -> tuple[str, str]:
    """What to tell of an exception that ended a command; one that is not ours is printed with its traceback.

    Args:
        error: The exception, while it is handled.

    Returns:
        ``data``, ``permanent``, ``unavailable`` or ``unknown``, and the message.
    """
    if isinstance(error, UnavailableError):
        return "unavailable", str(error)
    if isinstance(error, TrainingError):
        return ("data" if isinstance(error, BadDataError) else "permanent"), str(error)
    traceback.print_exception(error)
    return explain(error)


def write_result(document: dict[str, Any], place: Path) -> None:
    """Write a result document: afterwards it is there or not there, never half."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}")
    draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draft.replace(place)
