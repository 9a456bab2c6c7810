"""scikit-learn models: the compiled program, else the model itself fed with arrays."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from slipway_serving.convert.builder import Builder, CannotCompileError
from slipway_serving.convert.candidate import Attempt, Candidate
from slipway_serving.convert.decisions import split_rows
from slipway_serving.convert.sklearn_estimators import compile_estimator
from slipway_serving.convert.sklearn_transformers import frame_of
from slipway_serving.engines.arrays import load_estimator
from slipway_serving.forms.batch import Layout, columns_to_batch
from slipway_serving.forms.layout import columns_of
from slipway_serving.program.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from slipway_serving.convert.parity import Parity
    from slipway_serving.convert.probes import Probes

PREDICT_FUNCTIONS = {"predict", "predict_proba"}


def candidates(model: Any, model_dir: Path, layout: dict[str, Any]) -> list[Attempt]:
    """Return what can be tried for a model of the ``sklearn`` flavor, fastest first; nothing for other flavors."""
    flavor, function = model.flavors.get("sklearn"), model.flavors.get("python_function", {})
    if flavor is None or function.get("loader_module") != "mlflow.sklearn":
        return []
    saved = {
        "path": flavor["pickled_model"],
        "format": flavor.get("serialization_format", "pickle"),
        "trusted": flavor.get("skops_trusted_types"),
        "function": function.get("predict_fn", "predict"),
    }
    return [
        Attempt("native", lambda: _compiled(saved, model_dir, layout)),
        Attempt("numpy", lambda: _arrays(saved, layout)),
    ]


def _compiled(saved: dict[str, Any], model_dir: Path, layout: dict[str, Any]) -> Candidate:
    if saved["function"] not in PREDICT_FUNCTIONS:
        raise CannotCompileError(f"predict function {saved['function']}")
    estimator = load_estimator(saved, model_dir)
    program = _program(estimator, layout, shares=saved["function"] == "predict_proba")
    inner = partial(_compare_inside, estimator, layout, program)
    return Candidate("native", {"input": layout, "source": "sklearn"}, program, inner=inner)


def _program(estimator: Any, layout: dict[str, Any], *, shares: bool) -> dict[str, Any]:
    columns = columns_of(layout)
    kinds = [kind for _, kind in columns if kind != "string"]
    builder = Builder(len(kinds), singles="float" in kinds)
    output = compile_estimator(builder, estimator, frame_of(columns), shares=shares)
    return {"steps": builder.steps, "output": output}


def _compare_inside(
    estimator: Any, layout: dict[str, Any], program: dict[str, Any], probes: Probes, parity: Parity
) -> None:
    """Compare in bulk, without requests: class shares, which tell more than labels, and rows at the splits of trees."""
    rows = [row for row in probes.ordinary if all(value is not None for value in row)]
    rows += split_rows(program["steps"], columns_of(layout), rows)
    name, inner = "predict", program
    if hasattr(estimator, "predict_proba"):
        try:
            name, inner = "predict_proba", _program(estimator, layout, shares=True)
        except CannotCompileError:
            name, inner = "predict", program
    frame = pd.DataFrame(rows, columns=probes.names)
    expected = np.asarray(getattr(estimator, name)(frame.to_numpy() if layout["kind"] == "tensor" else frame))
    by_column = list(zip(*rows, strict=True))
    reader = Layout(columns_of(layout))
    found = Program(inner).score(columns_to_batch(reader, lambda index, _: list(by_column[index]), len(rows)))
    parity.rows += len(rows)
    parity.check(expected.tolist(), np.asarray(found).tolist(), f"{name} in bulk")


def _arrays(saved: dict[str, Any], layout: dict[str, Any]) -> Candidate:
    kinds = {kind for _, kind in columns_of(layout)}
    if "string" in kinds or ("boolean" in kinds and len(kinds) > 1):
        raise CannotCompileError("columns of several kinds")
    dtype = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
    common = dtype[kinds.pop()] if len(kinds) == 1 else "float64"
    return Candidate("numpy", {"input": layout, "source": "sklearn", "model": {**saved, "dtype": common}})
