"""A Great Expectations suite to begin with, from rows that are known to be good: they pass it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from slipway_trainer.job import Job
from slipway_trainer.objects import ObjectReader
from slipway_trainer.prepare import prepared_rows
from slipway_trainer.problem import BadDataError
from slipway_trainer.progress import tell

_MAX_CATEGORIES = 50

#: Texts that begin as dates do, in any usual order: 2026-01-31T10:00, 31.1.2026, 01/31/26, 2026-01.
_DATE = re.compile(
    r"\s*(?:\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?!\d).*", re.DOTALL
)


def propose_suite(job: Job) -> dict[str, Any]:
    """Propose a suite from all of the job's objects.

    Args:
        job: Service, objects, target and time column.

    Returns:
        ``suite``: see :func:`propose`.

    Raises:
        BadDataError: There are no rows, or an object cannot be read.
    """
    reader = ObjectReader(job.data_format, job.s3_endpoint_url, job.region)
    parts = []
    for number, source in enumerate(job.objects, 1):
        parts.append(prepared_rows(job, reader.table(source).to_pandas()))
        tell(f"{number} of {len(job.objects)}: {source.uri}, {len(parts[-1]):,} rows")
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if rows.empty:
        raise BadDataError("there are no rows to propose expectations from")
    return {"suite": propose(rows, job.service, job.target, job.time_column, parts)}


def propose(
    rows: pd.DataFrame,
    name: str,
    target: str | None = None,
    time_column: str | None = None,
    parts: Sequence[pd.DataFrame] = (),
) -> dict[str, Any]:
    """A suite to begin with, from rows that are known to be good.

    Args:
        rows: Training data.
        name: Name of the suite.
        target: The column that must never be missing.
        time_column: The column of times, of which new rows have values that none had before.
        parts: The rows by object, because each object is judged alone; left out, they are one.

    Returns:
        The suite as JSON: the columns that every part has, shares of missing values, ranges widened by half their
        width, known categories (of columns of texts with at most 50) for 99 % of the rows. Dates and times may have any
        values.
    """
    parts = [part for part in parts if len(part)] or [rows]
    columns = [column for column in rows.columns if all(column in part.columns for part in parts)]
    expectations: list[dict[str, Any]] = [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        {
            "type": "expect_table_columns_to_match_set",
            "kwargs": {"column_set": columns, "exact_match": False},
        },
    ]
    for column in columns:
        missing = max(float(part[column].isna().mean()) for part in parts)
        mostly = 1.0 if column == target or not missing else max(0.0, round(1.0 - 2.0 * missing - 0.01, 3))
        expectations.append(
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": column, "mostly": mostly}}
        )
        if column != time_column:
            expectations += _about_values(column, rows[column])
    return {"name": name, "expectations": expectations, "meta": {"proposed_from_rows": len(rows)}}


def _about_values(column: str, values: pd.Series) -> list[dict[str, Any]]:
    known = values.dropna()
    if known.empty or pd.api.types.is_bool_dtype(known) or pd.api.types.is_datetime64_any_dtype(known):
        return []
    if pd.api.types.is_numeric_dtype(known):
        return _range(column, known)
    # A column of objects may hold dates, decimals, truth values or lists: as texts they would match no row again.
    if not all(isinstance(value, str) for value in known):
        return []
    categories = sorted(set(known))
    if len(categories) > _MAX_CATEGORIES or all(_DATE.fullmatch(text) for text in categories):
        return []
    kwargs = {"column": column, "value_set": categories, "mostly": 0.99}
    return [{"type": "expect_column_values_to_be_in_set", "kwargs": kwargs}]


def _range(column: str, known: pd.Series) -> list[dict[str, Any]]:
    """Between which numbers; nothing of a column with infinite ones, or beyond what a float can hold."""
    low, high = float(known.min()), float(known.max())
    room = (high - low) / 2.0
    if not (math.isfinite(low - room) and math.isfinite(high + room)):
        return []
    kwargs = {"column": column, "min_value": low - room, "max_value": high + room, "mostly": 0.99}
    return [{"type": "expect_column_values_to_be_between", "kwargs": kwargs}]
