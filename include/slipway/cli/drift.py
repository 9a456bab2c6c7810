"""Drift on the command line: of a service, of any files, and made on purpose."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from slipway.drift.encoding import to_json
from slipway.drift.engines.threads import profile_batches
from slipway.drift.judge import DriftPolicy, DriftVerdict, judge
from slipway.drift.learning import learn_reference, schema_of_table
from slipway.drift.measures import measures_of
from slipway.drift.reference import Reference, read_reference
from slipway.drift.run_report import baseline_text, blind_text
from slipway.drift.schema import ModelSchema
from slipway.errors import InvalidInputError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 32_768
#: Read from a Parquet file at once, for each of its columns.
_COLUMN_BYTES = 1 << 16


def profile_files(files: Sequence[Path], baseline: Path | None, as_json: bool) -> None:
    """Print the profile of files, over their own bins or a baseline's.

    Args:
        files: Parquet or CSV files of one table.
        baseline: A ``baseline.json`` whose bins are used; None learns them from the files.
        as_json: Print the whole profile as JSON instead of a table.
    """
    reference = read_reference(baseline.read_bytes()) if baseline else reference_of_files(files)
    profile = profile_batches(read_batches(files, threads=_threads()), reference.bins, threads=_threads())
    if as_json:
        typer.echo(json.dumps(to_json(profile)))
        return
    typer.echo(f"{profile.rows:,} rows, {len(profile.columns)} columns")
    for name, values in measures_of(reference.baseline, profile).items():
        shown = ("count", "mean", "standard_deviation", "minimum", "maximum", "missing_rate", "mismatch_rate")
        parts = [f"{each.replace('_', ' ')} {values[each]:.6g}" for each in shown if each in values]
        typer.echo(f"  {name}: {', '.join(parts)}")


def compare_files(before: Path, after: Path, tolerance: float, as_json: bool) -> int:
    """Compare two tables and print a verdict for each column.

    Args:
        before: Parquet or CSV; or a ``baseline.json``.
        after: Parquet or CSV.
        tolerance: Distance that does not matter, more than 0 and less than 1.
        as_json: Print JSON.

    Returns:
        Exit code: 0, or 1 when something drifted.

    Raises:
        InvalidInputError: No verdict is possible with the tolerance, or a file cannot be read.
    """
    if not 0 < tolerance < 1:
        raise InvalidInputError(
            f"--tolerance is {tolerance:g}; a number between 0 and 1, neither of them, is expected, such as 0.1: that "
            "nothing at all changed cannot be shown by any number of rows, and no distance exceeds 1."
        )
    reference = read_reference(before.read_bytes()) if before.suffix == ".json" else reference_of_files([before])
    window = profile_batches(read_batches([after], threads=_threads()), reference.bins, threads=_threads())
    # One comparison: one false alarm in a hundred.
    policy = DriftPolicy(tolerance=tolerance, runs_per_year=100)
    found = judge(reference.baseline, window, policy, reference.blind)
    rows = [
        {"column": each.column, "statistic": each.statistic, "value": each.value, "lower_bound": each.lower_bound}
        | {"p": each.p_adjusted, "rows_needed": each.rows_needed, "verdict": each.verdict.value}
        | {"baseline_rows": each.baseline_rows, "baseline_needed": each.baseline_needed}
        for each in found.findings
    ]
    if as_json:
        typer.echo(json.dumps({"verdict": found.verdict.value, "rows": found.rows, "findings": rows}))
    else:
        typer.echo(f"{found.verdict.value}: {found.rows:,} rows against {reference.baseline.profile.rows:,}")
        for row in sorted(rows, key=lambda row: (row["verdict"] != "DRIFTED", -float(str(row["value"])))):
            typer.echo(f"  {row['verdict']:<13}{row['column']:<24}{row['statistic']:<20}{row['value']:.4f}")
        if found.unjudged:
            typer.echo(f"Not judged, because the first table has too few rows: {baseline_text(found.unjudged)}")
        if reference.blind:
            typer.echo(blind_text(reference.blind))
    return int(found.verdict is DriftVerdict.DRIFTED)


def _threads() -> int:
    """Threads that help: profiles are the same with any number."""
    return min(8, os.cpu_count() or 1)


def reference_of_files(files: Sequence[Path]) -> Reference:
    """Learn a baseline from files, in the order of their rows."""
    schema = _schema(files)
    return learn_reference(lambda: read_batches(files), schema, {"source": "files"})


def read_batches(files: Iterable[Path], *, threads: int = 1) -> Iterator[pa.RecordBatch]:
    """Read Parquet and CSV files as batches, one at a time.

    Args:
        files: Of one table.
        threads: With more than one, the columns of a Parquet file are decoded side by side, which takes more memory.

    Raises:
        InvalidInputError: A file is missing, or neither of the two.
    """
    for file in files:
        try:
            yield from _open(file, threads > 1)
        except (OSError, ValueError) as error:  # Arrow's own errors are ValueErrors
            raise InvalidInputError(f"{file}: {str(error).splitlines()[0]}") from None


def shift_rows(rows: list[dict[str, Any]], feature: str, shift: float) -> list[dict[str, Any]]:
    """Move a numeric feature by ``shift`` standard deviations of the rows; of a text feature, replace that share.

    Args:
        rows: Rows by column.
        feature: The column.
        shift: Standard deviations, or for text the share of rows (0 to 1) that gets a value never seen.

    Raises:
        InvalidInputError: The rows have no such column.
    """
    if any(feature not in row for row in rows):
        raise InvalidInputError(f"There is no feature {feature!r}; there are: {', '.join(rows[0])}.")
    numbers = [row[feature] for row in rows if isinstance(row[feature], int | float)]
    if len(numbers) < len(rows) / 2:
        every = max(1, round(1 / max(shift, 1e-9)))
        return [{**row, feature: "simulated"} if index % every == 0 else row for index, row in enumerate(rows)]
    mean = math.fsum(numbers) / len(numbers)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in numbers) / len(numbers)) or abs(mean) or 1.0
    return [
        {**row, feature: row[feature] + shift * spread} if isinstance(row[feature], int | float) else row
        for row in rows
    ]


def _schema(files: Sequence[Path]) -> ModelSchema:
    first = next(read_batches(files), None)
    if first is None:
        raise InvalidInputError(f"{', '.join(map(str, files))}: no rows.")
    return schema_of_table(first.schema)


def _open(file: Path, side_by_side: bool) -> Iterator[pa.RecordBatch]:
    if re.search(r"\.csv(\.(gz|bz2|zst|lz4))?$", file.name.lower()):
        yield from _csv_batches(file)
        return
    import pyarrow as pa
    import pyarrow.parquet

    # Texts stay numbers into the file's own dictionary, which are counted much faster.
    texts = [field.name for field in pyarrow.parquet.read_schema(file) if pa.types.is_string(field.type)]
    with pyarrow.parquet.ParquetFile(
        file, read_dictionary=texts, pre_buffer=False, buffer_size=_COLUMN_BYTES
    ) as source:
        yield from source.iter_batches(batch_size=_BATCH_ROWS, use_threads=side_by_side)


def _csv_batches(file: Path) -> Iterator[pa.RecordBatch]:
    """Read a CSV file whose first block, of which Arrow takes the types, need not show all that is in its columns."""
    import pyarrow as pa
    import pyarrow.csv

    options = pyarrow.csv.ConvertOptions()
    with pyarrow.csv.open_csv(file) as shown:
        fields = list(shown.schema)
    options.column_types = {field.name: pa.string() for field in fields if not pa.types.is_binary(field.type)}
    empty = pa.array(options.null_values)
    with pyarrow.csv.open_csv(file, convert_options=options) as source:
        for batch in source:
            columns = [_typed(batch.column(place), field.type, empty) for place, field in enumerate(fields)]
            yield pa.record_batch(columns, [field.name for field in fields])


def _typed(texts: pa.Array, kind: pa.DataType, empty: pa.Array) -> pa.Array:
    """Texts as what the first block has shown; where that fails wider numbers, times alone, or still texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return texts
    texts = pc.if_else(pc.is_in(texts, value_set=empty), pa.scalar(None, pa.string()), texts)
    wider = (pa.float64(),) if pa.types.is_integer(kind) else ()
    for wanted in () if pa.types.is_null(kind) else (kind, *wider):
        try:
            return pc.cast(texts, wanted)
        except pa.ArrowInvalid:
            if pa.types.is_temporal(wanted):
                return pa.array([_time(text, wanted) for text in texts], wanted)
    return texts


def _time(text: pa.Scalar, kind: pa.DataType) -> pa.Scalar | None:
    try:
        return text.cast(kind)
    except ValueError:
        return None
