"""For training code: log the baseline of a model beside it.

.. code-block:: python

    info = mlflow.sklearn.log_model(pipeline, name="model", ...)
    log_baseline(info.model_id, features, pipeline.predict(features))
    mlflow.register_model(info.model_uri, "flights-delay")
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.drift.baseline import Baseline
from slipway.drift.learning import CHUNKS, learn_reference, schema_of_table
from slipway.drift.reference import ARTIFACT, Reference
from slipway.drift.schema import PREDICTION, prediction_names

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 65_536
#: Fewer parts say little of how much healthy ones differ; more cost time and say no more.
_FEWEST_CHUNKS, _MOST_CHUNKS = 8, 400


def make_reference(features: Any, predictions: Any = None, *, chunks: int = CHUNKS) -> Reference:
    """Learn the baseline of a model from its training rows.

    Args:
        features: What the model was trained on, without the target, **in the order of time**: a pandas DataFrame, an
            Arrow table, or a numpy matrix.
        predictions: What the model answers to these rows: a value a row, or a table. Left out, predictions are not
            watched.
        chunks: At most so many parts are compared to see how much healthy rows differ; best about the number of
            windows (hours, days …) in the training time.

    Returns:
        The reference.

    Raises:
        InvalidInputError: There are no rows, or none of the columns can be watched.
    """
    inputs = _table(features)
    named = getattr(features, "columns", None) is not None or hasattr(features, "schema")
    outputs = _predictions(predictions, inputs.column_names) if predictions is not None else None
    schema = schema_of_table(inputs.schema, outputs.schema if outputs is not None else None, named=named)
    if outputs is not None:
        for name in outputs.column_names:
            inputs = inputs.append_column(name, outputs.column(name))
    return learn_reference(
        lambda: inputs.to_batches(max_chunksize=_BATCH_ROWS), schema, {"source": "training"}, chunks=chunks
    )


def log_baseline(model_id: str, features: Any, predictions: Any = None, *, chunks: int = CHUNKS) -> Reference:
    """Learn the baseline and log it with the model, as ``slipway/baseline.json`` among its artifacts.

    To be called between logging and registering the model: deployments mirror the model's artifacts.

    Args:
        model_id: ``model_id`` of what ``mlflow.<flavor>.log_model`` returned.
        features: As for :func:`make_reference`.
        predictions: As for :func:`make_reference`.
        chunks: As for :func:`make_reference`.

    Returns:
        The reference.
    """
    from mlflow import MlflowClient

    reference = make_reference(features, predictions, chunks=chunks)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ARTIFACT
        file.parent.mkdir(parents=True)
        file.write_bytes(reference.to_bytes())
        MlflowClient().log_model_artifacts(model_id, folder)
    return reference


def baseline_file(
    features: Any, predictions: Any, *, every: int, seconds: float, window_hours: float
) -> tuple[str, bytes]:
    """Make the file that :func:`log_baseline` logs, for a trainer that logs it itself.

    Args:
        features: As for :func:`make_reference`.
        predictions: As for :func:`make_reference`.
        every: Each so many-th of the training rows is given. Parts of thinned rows stand for so many times more, which
            a window with as few rows must not be taken for: fewer rows come from a shorter time and differ more.
        seconds: Time that the rows span.
        window_hours: Hours that will be judged together; the rows are cut into parts of about that length.

    Returns:
        Path among the model's files, and the content.

    Raises:
        InvalidInputError: There are no rows, or none of the columns can be watched.
    """
    chunks = min(_MOST_CHUNKS, max(_FEWEST_CHUNKS, round(seconds / 3600 / window_hours)))
    reference = make_reference(features, predictions, chunks=chunks)
    found = reference.baseline
    spreads = {name: replace(spread, chunk_rows=spread.chunk_rows * every) for name, spread in found.spreads.items()}
    origin = {**reference.origin, "every": every} if every > 1 else reference.origin
    thinned = replace(reference, baseline=Baseline(found.bins, found.profile, spreads), origin=origin)
    return ARTIFACT, thinned.to_bytes()


def _table(values: Any) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    if isinstance(values, pa.Table):
        return values
    if hasattr(values, "columns"):
        return pa.Table.from_pandas(values, preserve_index=False)
    matrix = np.asarray(values)
    matrix = matrix.reshape(len(matrix), -1)
    return pa.table({str(index): pa.array(matrix[:, index]) for index in range(matrix.shape[1])})


def _predictions(values: Any, taken: list[str]) -> pa.Table:
    import pyarrow as pa

    if hasattr(values, "to_frame"):  # a pandas Series
        values = values.to_numpy()
    table = _table(values)
    if table.num_columns > 1 and hasattr(values, "columns"):
        return table.rename_columns([f"{PREDICTION}[{name}]" for name in table.column_names])
    names = prediction_names(table.num_columns, taken)
    return pa.table(dict(zip(names, table.columns, strict=True)))
