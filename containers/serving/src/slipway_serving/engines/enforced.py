"""A program behind MLflow's own parsing and schema enforcement.

For models whose original cannot run in the image (Spark ML without a JVM): odd requests still get MLflow's rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.engines.pyfunc import PyfuncEngine
from slipway_serving.forms.batch import Batch, NotCoveredError

if TYPE_CHECKING:
    from pathlib import Path

    from slipway_serving.program.program import Program


class ProgramModel:
    """A program in the place of a pyfunc model's implementation.

    Parameters
    ----------
    program
        The compiled model.
    columns
        ``(name, MLflow type)`` in the signature's order.
    """

    def __init__(self, program: Program, columns: list[tuple[str, str]]) -> None:
        self._program = program
        self._columns = columns

    def predict(self, frame: Any, params: Any = None) -> Any:
        """Score a DataFrame that MLflow has enforced the signature on."""
        missing = [name for name, _ in self._columns if name not in frame]
        if missing:
            raise NotCoveredError(f"the compiled model needs the optional columns {missing} too")
        numbers = [name for name, kind in self._columns if kind != "string"]
        matrix = frame[numbers].to_numpy(dtype=np.float64) if numbers else np.empty((len(frame), 0))
        texts = {name: _texts(frame[name]) for name, kind in self._columns if kind == "string"}
        return list(self._program.score(Batch(len(frame), matrix, texts)))


def _texts(series: Any) -> list[str | None]:
    values = [None if value is None or value != value else value for value in series.tolist()]
    if not all(value is None or isinstance(value, str) for value in values):
        raise NotCoveredError(f"column {series.name!r} holds something else than texts")
    if values and all(value is None for value in values):
        raise NotCoveredError(f"column {series.name!r} is null throughout, so that Spark could not tell its type")
    return values


def program_behind_mlflow(program: Program, columns: list[tuple[str, str]], model_dir: Path) -> PyfuncEngine:
    """Return an engine with MLflow's rules for requests and the program's answers."""

    def load(folder: str) -> Any:
        from mlflow.models import Model
        from mlflow.pyfunc import PyFuncModel

        return PyFuncModel(model_meta=Model.load(folder), model_impl=ProgramModel(program, columns))

    return PyfuncEngine(model_dir, load)
