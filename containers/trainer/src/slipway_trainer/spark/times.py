"""Times of a Spark frame as microseconds since 1970, whatever the column's type."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as fn


def micros(frame: DataFrame, name: str) -> Any:
    """The column as microseconds since 1970, UTC; null where it holds no time.

    Args:
        frame: The frame.
        name: A column of times, dates, ISO texts, or whole numbers (seconds since 1970).
    """
    kind = dict(frame.dtypes)[name]
    if kind in {"int", "bigint"}:
        return fn.col(name).cast("bigint") * 1_000_000
    return fn.unix_micros(fn.col(name).try_cast("timestamp"))
