"""The features of a Spark frame in the types of the model's signature, without changing any value."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn

from slipway_trainer.feature_types import WHOLE_BITS, not_whole, too_large
from slipway_trainer.problem import BadDataError

_SPARK_TYPES = {"double": "double", "float": "float", "long": "bigint", "integer": "int", "string": "string"}


def typed(frame: DataFrame, features: dict[str, str]) -> DataFrame:
    """Give the features the types of the model's signature; goes through the rows when a cast could change a value.

    Args:
        frame: The rows; other columns stay as they are.
        features: MLflow's type names by column.

    Raises:
        BadDataError: A column has values that its type cannot hold.
    """
    kinds = dict(frame.dtypes)
    casts = {}
    for name, kind in features.items():
        wanted = _SPARK_TYPES.get(kind)
        if wanted is None or kinds[name] == wanted:
            continue
        if "string" in (wanted, kinds[name]):
            raise BadDataError(f"column {name!r} is {kinds[name]}, the model's signature says {kind}")
        casts[name] = fn.col(name).cast(wanted)
    _check_whole(frame, {name: features[name] for name in casts if _may_lose(kinds[name], features[name])})
    return frame.withColumns(casts) if casts else frame


def _may_lose(found: str, kind: str) -> bool:
    """Whether a cast would cut off decimals, or fail in Spark's words at a number too large."""
    return kind in WHOLE_BITS and (found in {"double", "float", "bigint"} or found.startswith("decimal"))


def _check_whole(frame: DataFrame, features: dict[str, str]) -> None:
    if not features:
        return
    asked = []
    for name, kind in features.items():
        column, beyond = fn.col(name), float(2 ** (WHOLE_BITS[kind] - 1))
        asked += [_example(column % 1 != 0, column), _example((column < -beyond) | (column >= beyond), column)]
    found = iter(frame.agg(*asked).first() or ())
    for (name, kind), broken, outside in zip(features.items(), found, found, strict=False):
        if broken is not None:
            raise not_whole(name, kind, broken)
        if outside is not None:
            raise too_large(name, kind, outside)


def _example(condition: Any, column: Any) -> Any:
    return fn.min(fn.when(condition, column))
