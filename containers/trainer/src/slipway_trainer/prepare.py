"""The service's own function over each object's rows, before anything else looks at them.

The function gets the rows of one object as a pandas frame and returns the rows to train on. What it returns is written
once and never changes. It raises :class:`slipway_trainer.problem.BadDataError` for rows that nobody should train on:
the object is set aside with that reason. Any other exception is a fault of the function and fails the task.
"""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from slipway_trainer.job import DataObject, Job
from slipway_trainer.objects import ObjectReader, put
from slipway_trainer.problem import BadDataError, TrainingError
from slipway_trainer.progress import tell
from slipway_trainer.retrainer import load_object


def prepare(job: Job) -> dict[str, Any]:
    """Prepare each of the job's objects.

    Args:
        job: Its ``prepare`` names the function and where to write.

    Returns:
        ``objects``: one entry each with ``uri``, ``rows``, and either the ``place`` of what was written or the
        ``problem`` for which the object is to be set aside; neither for an object that cannot be read, with the reason
        in ``unreadable``.

    Raises:
        TrainingError: There is no such function, or it fails.
        UnavailableError: S3 does not answer.
    """
    if job.prepare is None:
        raise TrainingError("the job does not say how to prepare")
    done = []
    for number, (source, place) in enumerate(zip(job.objects, job.prepare.places, strict=True), 1):
        entry = {"uri": source.uri, **_prepared(job, source, place)}
        done.append(entry)
        told = entry["problem"] or ("cannot be read" if not entry["place"] else f"{entry['rows']:,} rows")
        tell(f"{number} of {len(job.objects)}: {source.uri}, {told}")
    return {"objects": done}


def _prepared(job: Job, source: DataObject, place: str) -> dict[str, Any]:
    try:
        rows = ObjectReader(job.data_format, job.s3_endpoint_url, job.region).table(source).to_pandas()
    except BadDataError as error:
        return {"rows": 0, "place": "", "problem": "", "unreadable": str(error)}
    try:
        found = prepared_rows(job, rows)
    except BadDataError as error:
        return {"rows": 0, "place": "", "problem": str(error)}
    file = io.BytesIO()
    found.to_parquet(file, index=False)
    etag = put(place, file.getvalue(), endpoint_url=job.s3_endpoint_url, region=job.region)
    return {"rows": len(found), "place": place, "problem": "", "etag": etag, "size": file.tell()}


def prepared_rows(job: Job, rows: pd.DataFrame) -> pd.DataFrame:
    """What the service's function makes of rows; the rows themselves when there is none.

    Raises:
        BadDataError: The function refuses the rows.
        TrainingError: There is no such function, it fails, or returns something else.
    """
    if job.prepare is None or not job.prepare.function:
        return rows
    function = load_object(job.prepare.function)
    try:
        found = function(rows)
    except BadDataError:
        raise
    except Exception as error:
        raise TrainingError(f"{job.prepare.function} fails: {type(error).__name__}: {error}") from error
    if not isinstance(found, pd.DataFrame):
        raise TrainingError(f"{job.prepare.function} returns {type(found).__name__}; expected a pandas frame")
    return found
