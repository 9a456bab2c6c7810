"""The features in the types of the model's signature, without changing any value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from slipway_trainer.problem import BadDataError

_NUMERIC = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32"}

#: Bits of MLflow's whole numbers.
WHOLE_BITS = {"long": 64, "integer": 32}


def typed(rows: pd.DataFrame, features: dict[str, str]) -> pd.DataFrame:
    """Give the features the types of the model's signature.

    Args:
        rows: The rows; other columns stay as they are.
        features: MLflow's type names by column.

    Raises:
        BadDataError: A column has values that its type cannot hold.
    """
    found = rows.copy()
    for name, kind in features.items():
        try:
            if kind in _NUMERIC:
                values = pd.to_numeric(found[name])
                if kind in WHOLE_BITS:
                    _check_whole(values, name, kind)
                found[name] = values.astype(_NUMERIC[kind])
            elif kind == "string":
                if pd.api.types.is_numeric_dtype(found[name]):
                    raise ValueError("the column holds numbers")
                found[name] = found[name].astype(object)
        except (ValueError, TypeError) as error:
            raise BadDataError(f"column {name!r} does not fit the model's type {kind}: {error}") from error
    return found


def _check_whole(values: pd.Series, name: str, kind: str) -> None:
    """Refuse what ``astype`` would cut off or wrap around; it refuses what is missing or infinite itself."""
    numbers = values.to_numpy()
    if numbers.dtype.kind == "b":
        return
    if numbers.dtype.kind == "f":
        numbers = numbers[np.isfinite(numbers)]
        broken = numbers[numbers != np.floor(numbers)]
        if len(broken):
            raise not_whole(name, kind, broken[0].item())
    beyond = 2 ** (WHOLE_BITS[kind] - 1)
    outside = numbers[(numbers < -beyond) | (numbers >= beyond)]
    if len(outside):
        raise too_large(name, kind, outside[0].item())


def not_whole(name: str, kind: str, example: Any) -> BadDataError:
    """What is said of a column with decimals where the signature says whole numbers."""
    return BadDataError(
        f"column {name!r} holds {example}, which is no whole number, and the model's signature says {kind}; decimals "
        "are not cut off. Correct the data, or register a version whose signature says double"
    )


def too_large(name: str, kind: str, example: Any) -> BadDataError:
    """What is said of a column with numbers beyond those of the signature's type."""
    wider = "long or double" if kind == "integer" else "double"
    return BadDataError(
        f"column {name!r} holds {example}, which does not fit into {kind}, as the model's signature says. Correct the "
        f"data, or register a version whose signature says {wider}"
    )
