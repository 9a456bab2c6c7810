"""The input side of an MLflow signature, as far as the fast path covers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slipway_serving.convert.builder import CannotCompileError
from slipway_serving.forms.layout import columns_of

if TYPE_CHECKING:
    from pathlib import Path

COVERED_TYPES = {"boolean", "integer", "long", "float", "double", "string"}


def read_input(model: Any) -> dict[str, Any]:
    """Describe the input for ``engine.json``.

    Parameters
    ----------
    model
        ``mlflow.models.Model``.

    Returns
    -------
    dict
        ``{"kind": "columns", "columns": [[name, type], …], "optional": [name, …]}`` or
        ``{"kind": "tensor", "width": n, "dtype": "float64"}``.

    Raises
    ------
    CannotCompileError
        There is no signature, or it holds types that only MLflow's own code handles.
    """
    schema = model.get_input_schema()
    if schema is None:
        raise CannotCompileError("the model has no signature")
    if schema.is_tensor_spec():
        return _tensor(schema)
    if not schema.has_input_names():
        raise CannotCompileError("the signature's columns have no names")
    kinds = [getattr(kind, "name", type(kind).__name__) for kind in schema.input_types()]
    odd = sorted({kind for kind in kinds if kind not in COVERED_TYPES})
    if odd:
        raise CannotCompileError(f"columns of type {', '.join(odd)}")
    columns = [[name, kind] for name, kind in zip(schema.input_names(), kinds, strict=True)]
    return {"kind": "columns", "columns": columns, "optional": list(schema.optional_input_names())}


def _tensor(schema: Any) -> dict[str, Any]:
    specs = schema.inputs
    shape, dtype = tuple(specs[0].shape), np.dtype(specs[0].type).name
    if len(specs) != 1 or specs[0].name or len(shape) != 2 or shape[0] != -1 or shape[1] < 1:
        raise CannotCompileError("a tensor signature that is not one table of rows")
    if dtype not in {"float64", "float32"}:
        raise CannotCompileError(f"a tensor of {dtype}")
    return {"kind": "tensor", "width": int(shape[1]), "dtype": dtype}


def example_rows(model: Any, model_dir: Path, layout: dict[str, Any]) -> list[list[Any]]:
    """Return the saved input example as rows in the signature's order; none when there is no usable one."""
    import pandas as pd

    example = model.load_input_example(str(model_dir)) if model.saved_input_example_info else None
    if isinstance(example, tuple):
        example = example[0]
    names = [name for name, _ in columns_of(layout)]
    if isinstance(example, np.ndarray) and example.ndim == 2 and example.shape[1] == len(names):
        example = pd.DataFrame(example, columns=names)
    if not isinstance(example, pd.DataFrame) or not set(names) <= set(example.columns):
        return []
    frame = example[names].astype(object)
    return [list(row) for row in frame.where(frame.notna(), None).itertuples(index=False, name=None)]
