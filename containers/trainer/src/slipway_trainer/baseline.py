"""What is normal for the new model, logged beside it: the monitor compares production with it.

The trainer stands alone, so it does not know how a baseline is made: the job names the function, and the trainer gives
it the rows that were trained on, in the order of time, with the model's answers to them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_trainer.job import Job
from slipway_trainer.named import named
from slipway_trainer.progress import tell
from slipway_trainer.split import Bounds
from slipway_trainer.tracking import is_outage

#: Rows that a baseline is made of at most. Its size adds 1/rows to the variance of a comparison: a hundredth of what a
#: window of 10,000 rows brings itself.
MAX_ROWS = 1_000_000


@dataclass(frozen=True)
class TrainedRows:
    """Rows that the model was fitted on, oldest first.

    Args:
        features: Arrow table of what the model is asked with.
        answers: What it answers to them, as the deployed model does: a value a row, or a table.
        every: Each so many-th of the training rows is here.
    """

    features: Any
    answers: Any
    every: int = 1


def thinning(rows: int) -> int:
    """Each so many-th row is taken, so that :data:`MAX_ROWS` are not exceeded."""
    return max(1, -(-rows // MAX_ROWS))


def log_baseline(job: Job, read: Callable[[], TrainedRows | None], bounds: Bounds, model_id: str) -> str:
    """Make the baseline and log it with the model.

    Args:
        job: Names the function; it is called with ``features``, ``answers``, ``every``, ``seconds`` (that the rows
            span) and the job's own options, and returns the path among the model's files and the bytes.
        read: Gives what was trained on, or None when the retrainer gives no rows.
        bounds: When that was.
        model_id: The logged model.

    Returns:
        Path of the baseline among the model's files, or in words why there is none: a model is not lost for that, the
        monitor then learns from what production receives.

    Raises:
        TrainingError: The function that the job names does not exist.
    """
    if job.baseline is None:
        return "none asked for"
    make = named(job.baseline.function)
    try:
        rows = read()
        if rows is None:
            return "none: the retrainer gives no rows"
        seconds = (bounds.cutoff - bounds.first) / 1e6
        path, content = make(rows.features, rows.answers, every=rows.every, seconds=seconds, **job.baseline.options)
    except Exception as error:
        if is_outage(error):
            raise  # the training is tried again
        tell(f"no baseline is logged: {type(error).__name__}: {error}")
        return f"none: {type(error).__name__}: {error}"
    _log_file(model_id, path, content)
    tell(f"logged the baseline of {rows.features.num_rows:,} rows as {path}")
    return str(path)


def _log_file(model_id: str, path: str, content: bytes) -> None:
    import mlflow

    with tempfile.TemporaryDirectory(prefix="slipway-baseline-") as folder:
        file = Path(folder, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        mlflow.MlflowClient().log_model_artifacts(model_id, folder)
