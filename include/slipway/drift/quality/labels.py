"""Outcomes as they arrive: Parquet, CSV or JSON lines in a folder of S3."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slipway.drift.quality.join import make_keys
from slipway.drift.quality.policy import INFERENCE_ID, QualityPolicy
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = (".parquet", ".csv", ".jsonl", ".json")
ROW = "row"
TIME = "time"


@dataclass(frozen=True)
class LabelFile:
    """One file of outcomes: its name (for messages), its bytes, and when it arrived."""

    name: str
    body: bytes
    arrived: datetime


def is_label_file(name: str) -> bool:
    """Whether a file of the folder is one of outcomes."""
    return name.endswith(_ENDINGS)


def read_labels(files: Iterable[LabelFile], policy: QualityPolicy) -> tuple[pa.Table, dict[str, str]]:
    """Read files of outcomes.

    Args:
        files: The files.
        policy: Which columns they have. ``row`` (of the request, from 0) and ``time`` (when the outcome was known, else
            when the file arrived) are optional.

    Returns:
        A table of ``key``, ``time`` (microseconds since 1970) and ``label``; and the files that could not be read, each
        with the reason.
    """
    import pyarrow as pa

    tables, refused = [], {}
    for file in files:
        try:
            tables.append(_labels_of(_parse(file), policy, file.arrived))
        except (pa.ArrowException, InvalidInputError, ValueError, KeyError) as error:
            refused[file.name] = str(error).splitlines()[0][:300]
    empty = pa.table({"key": pa.array([], pa.string()), "time": pa.array([], pa.int64()), "label": pa.array([])})
    return (pa.concat_tables(tables, promote_options="permissive") if tables else empty), refused


def id_keys(ids: Any, rows: Any) -> pa.Array:
    """Return the keys of rows that are named by an inference id and their number in the request."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(pc.cast(ids, pa.string()), pc.cast(rows, pa.string()), "#")


def micros(at: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _parse(file: LabelFile) -> Any:
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    stream = io.BytesIO(file.body)
    if file.name.endswith(".parquet"):
        return pyarrow.parquet.read_table(stream)
    if file.name.endswith(".csv"):
        return pyarrow.csv.read_csv(stream)
    return pyarrow.json.read_json(stream)


def _labels_of(table: Any, policy: QualityPolicy, arrived: datetime) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = [*policy.keys, policy.label]
    absent = [name for name in wanted if name not in table.column_names]
    if absent:
        raise InvalidInputError(f"expected the columns {wanted}, found {table.column_names}")
    table = table.combine_chunks()
    if policy.exact:
        rows = table[ROW] if ROW in table.column_names else pa.array([0] * table.num_rows, pa.int64())
        keys = id_keys(table[INFERENCE_ID], rows)
    else:
        keys = make_keys([table[name] for name in policy.keys])
    if TIME in table.column_names:
        stamps = pc.cast(table[TIME], pa.timestamp("us", tz="UTC") if _has_zone(table[TIME]) else pa.timestamp("us"))
        times = pc.fill_null(pc.cast(stamps, pa.int64()), micros(arrived))
    else:
        times = pa.array([micros(arrived)] * table.num_rows, pa.int64())
    return pa.table({"key": keys, "time": times, "label": table[policy.label]})


def _has_zone(column: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        return column.type.tz is not None
    first = next((str(text) for text in column.to_pylist()[:100] if text is not None), "")
    return first.endswith("Z") or "+" in first[10:]
