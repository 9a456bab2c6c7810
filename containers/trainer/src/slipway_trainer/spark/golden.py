"""Answers of a fitted pipeline, written beside it: where it is deployed there is no JVM that could be asked.

The document is the one by which a deployment verifies (``golden.json``, format 1): requests as MLflow's scoring server
reads them, and what ``mlflow.pyfunc`` answers in this very process, from the files that were logged.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from slipway_trainer.problem import TrainingError
from slipway_trainer.progress import tell

GOLDEN_FILE = "golden.json"
UNKNOWN = "never seen before"
_ROWS = 40
_VARIED = 5


def golden_document(model: Any, rows: pd.DataFrame, features: Sequence[str]) -> dict[str, Any]:
    """Ask the model.

    Args:
        model: MLflow's ``PyFuncModel`` of the fitted pipeline.
        rows: Held-out rows to choose from.
        features: Columns in the signature's order.

    Returns:
        The golden document. Rows with a missing number or an unknown text are in it when the model answers them.

    Raises:
        TrainingError: The model answers none of the rows.
    """
    chosen = evenly(rows[list(features)], _ROWS)
    given = _values(chosen)
    varied = _varied(given, chosen)
    answers = _try(model, features, [*given, *varied])
    asked = [*given, *varied] if answers is not None else given
    if answers is None:
        tell("golden rows: the model refuses rows with missing numbers or unknown texts; they are left out")
        answers = _try(model, features, given)
    if answers is None:
        raise TrainingError("the logged model answers none of the held-out rows through mlflow.pyfunc")
    text = chosen.to_csv(index=False, lineterminator="\n")
    csv_answers = _predict(model, _read_csv(text, model.metadata.get_input_schema()))
    return {
        "format": 1,
        "columns": list(features),
        "rows": asked,
        "answers": answers,
        "json": {"dataframe_split": {"columns": list(features), "data": asked}},
        "csv": text,
        "csv_answers": csv_answers,
        "csv_problem": "",
        "from_example": 0,
    }


def evenly(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """At most ``count`` complete rows, spread evenly over all."""
    complete = rows.dropna()
    step = max(1, len(complete) // count)
    return complete.iloc[::step].head(count).reset_index(drop=True)


def _values(rows: pd.DataFrame) -> list[list[Any]]:
    found: list[list[Any]] = json.loads(rows.to_json(orient="values", double_precision=15))
    return found


def _varied(given: list[list[Any]], rows: pd.DataFrame) -> list[list[Any]]:
    """Some of the rows again, each with one value missing (numbers) or unknown (texts)."""
    changed = []
    for place, name in enumerate(rows.columns):
        odd = None if pd.api.types.is_float_dtype(rows[name]) else UNKNOWN
        if odd is None or pd.api.types.is_object_dtype(rows[name]) or pd.api.types.is_string_dtype(rows[name]):
            changed += [[*row[:place], odd, *row[place + 1 :]] for row in given[place : place + _VARIED]]
    return changed


def _try(model: Any, features: Sequence[str], rows: list[list[Any]]) -> list[Any] | None:
    from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

    split = json.loads(json.dumps({"columns": list(features), "data": rows}))
    frame = dataframe_from_parsed_json(split, pandas_orient="split", schema=model.metadata.get_input_schema())
    try:
        return _predict(model, frame)
    except Exception as error:  # noqa: BLE001  # whatever Spark raises for a row, the row is not one to verify by
        tell(f"golden rows: {type(error).__name__}: {str(error).splitlines()[0][:200]}")
        return None


def _read_csv(text: str, schema: Any) -> pd.DataFrame:
    kinds = dict(zip(schema.input_names(), schema.pandas_types(), strict=True))
    frame: pd.DataFrame = pd.read_csv(io.StringIO(text), dtype=kinds)
    return frame


def _predict(model: Any, frame: pd.DataFrame) -> list[Any]:
    from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

    answer = _get_jsonable_obj(model.predict(frame), pandas_orient="records")
    found: list[Any] = json.loads(json.dumps(answer, cls=NumpyEncoder))
    return found
