"""Spark for others: start it as a job says, call one function with it, stop it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from slipway_trainer.job import Job
from slipway_trainer.named import named
from slipway_trainer.problem import TrainingError
from slipway_trainer.progress import tell
from slipway_trainer.spark.session import start_session, stop_session


def call(job: Job) -> dict[str, Any]:
    """Call the job's function with a session as its first argument, and its options.

    Returns:
        What the function returns.

    Raises:
        TrainingError: The job names no function, or one that does not exist.
    """
    if job.call is None:
        raise TrainingError("the job names no function to call")
    function = named(job.call.function)
    with tempfile.TemporaryDirectory(prefix="slipway-spark-") as folder:
        session = start_session(
            f"{job.service} {job.call.function}",
            cache_dir=Path(folder),
            configuration=job.spark,
            submitted=job.submitted,
        )
        tell(f"Spark {session.version} is up")
        try:
            result: dict[str, Any] = function(session, **job.call.options)
            return result
        finally:
            stop_session(session)
