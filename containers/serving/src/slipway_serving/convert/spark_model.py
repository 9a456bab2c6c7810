"""Spark ML models: pipelines whose stages all have a compiled form are served without a JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slipway_serving.convert.builder import Builder, CannotCompileError, Column, Matrix
from slipway_serving.convert.candidate import Attempt, Candidate
from slipway_serving.convert.spark_features import FEATURES, Table
from slipway_serving.convert.spark_models import MODELS
from slipway_serving.convert.spark_saved import SavedStage
from slipway_serving.forms.layout import columns_of

if TYPE_CHECKING:
    from pathlib import Path

MAX_EDGE_ROWS = 200
MAX_LEARNED_ROWS = 80
PREDICTION = "prediction"


def covered_stages() -> dict[str, list[str]]:
    """Return the names of all stages that have a compiled form."""
    return {"features": sorted(FEATURES), "models": sorted(MODELS)}


def uncovered_stages(stage: SavedStage) -> list[str]:
    """Return the kinds of stage in a saved model that have no compiled form, by its metadata alone.

    An empty list does not promise that the model compiles, but a non-empty one that it does not.
    """
    if stage.kind == "PipelineModel":
        return [kind for part in stage.stages() for kind in uncovered_stages(part)]
    return [] if stage.kind in FEATURES or stage.kind in MODELS else [stage.kind]


def candidates(model: Any, model_dir: Path, layout: dict[str, Any]) -> list[Attempt]:
    """Return what can be tried for a model of the ``spark`` flavor; nothing for other flavors."""
    flavor, function = model.flavors.get("spark"), model.flavors.get("python_function", {})
    if flavor is None or function.get("loader_module") != "mlflow.spark":
        return []
    return [Attempt("native", lambda: _compiled(model_dir / flavor["model_data"], layout))]


def _compiled(folder: Path, layout: dict[str, Any]) -> Candidate:
    if layout["kind"] != "columns":
        raise CannotCompileError("a tensor signature")
    saved = SavedStage(folder)
    if uncovered := uncovered_stages(saved):
        raise CannotCompileError(f"stages {', '.join(sorted(set(uncovered)))}")
    program = compile_saved(saved, columns_of(layout))
    document = {"input": layout, "source": "spark", "fallback": "program"}
    return Candidate("native", document, program, max_edges=MAX_EDGE_ROWS, max_learned=MAX_LEARNED_ROWS)


def compile_saved(stage: SavedStage, columns: list[tuple[str, str]]) -> dict[str, Any]:
    """Compile a saved model or pipeline.

    Parameters
    ----------
    stage
        The saved model.
    columns
        ``(name, MLflow type)`` of the request.

    Returns
    -------
    dict
        The program; it returns the column ``prediction``.

    Raises
    ------
    CannotCompileError
        A stage has no compiled form; the message names it.
    """
    frame, position = [], 0
    for name, kind in columns:
        frame.append(Column(name, kind, position))
        position += kind != "string"
    table = Table(Builder(position), frame)
    _add(table, stage)
    result = table[PREDICTION]
    if not isinstance(result, Matrix) or result.width != 1:
        raise CannotCompileError("a prediction that is not one number")
    output = table.builder.step("ravel", result.register)
    return {"steps": table.builder.steps, "output": output}


def _add(table: Table, stage: SavedStage) -> None:
    if stage.kind == "PipelineModel":
        for part in stage.stages():
            _add(table, part)
    elif stage.kind in FEATURES:
        FEATURES[stage.kind](table, stage)
    elif stage.kind in MODELS:
        features = table.numbers(stage.params["featuresCol"])
        table[stage.params["predictionCol"]] = MODELS[stage.kind](table.builder, stage, features)
    else:
        raise CannotCompileError(f"stage {stage.kind}")
