"""From rows of one form to an Arrow batch with the model's schema."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from slipway.drift.capture.lists import packed
from slipway.drift.schema import PREDICTION, Column, ModelSchema, arrow_type, prediction_names

if TYPE_CHECKING:
    import pyarrow as pa

#: What stands for "no value" in CSV, as in pandas.
_CSV_MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "n/a"})
_TEXT = Column("", "string")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: What is beyond does not fit into Arrow's microseconds.
_MOST_MILLISECONDS = 2**63 // 1000


def input_arrays(
    schema: ModelSchema,
    columns: tuple[str, ...] | None,
    rows: Sequence[Sequence[Any]],
    *,
    text: bool,
    raw: bool = False,
) -> dict[str, pa.Array]:
    """Return an array for each watched column of the rows.

    Args:
        schema: The model's.
        columns: The rows' columns; None when they come in the model's order.
        rows: The values.
        text: Whether all values are text.
        raw: Whether the rows are lines of CSV without quotes.

    Returns:
        Arrays by column, in the model's order; columns that no row brings are left out (they count as missing).
        A column with values of another type than the model's comes as text, so that a profile can count them.
    """
    names = columns if columns is not None else tuple(column.name for column in schema.inputs)
    if raw:
        found = _of_lines(schema, names, rows)  # type: ignore[arg-type]  # raw rows are texts
        if found is not None:
            return found
        rows = [line.split(",") for line in rows]  # type: ignore[attr-defined]
    values = dict(zip(names, zip(*rows, strict=True), strict=False))
    found = {}
    for column in schema.inputs:
        if column.name in values:
            cells = values[column.name]
            found[column.name] = from_text(cells, column) if text else from_values(cells, column)
    return found


def _of_lines(schema: ModelSchema, names: Sequence[str], lines: Sequence[str]) -> dict[str, pa.Array] | None:
    """Lines parsed by Arrow; None when a value is not of its column's type, which has to be looked at one by one."""
    import pyarrow as pa
    import pyarrow.csv

    watched = [column for column in schema.inputs if column.name in names]
    kinds = {column.name: pa.string() if column.kind == "datetime" else arrow_type(column) for column in watched}
    width = lines[0].count(",") + 1
    if len(set(names)) != len(names) or len(names) < width or not watched:
        return None
    text = "\n".join(lines).encode()
    try:
        table = pyarrow.csv.read_csv(
            pa.py_buffer(text),
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(names[:width]), use_threads=False, block_size=len(text) + 1
            ),
            parse_options=pyarrow.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=kinds,
                include_columns=[column.name for column in watched],
                null_values=list(_CSV_MISSING),
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    found = {}
    for column in watched:
        array = table[column.name].combine_chunks()
        found[column.name] = _as_times(array.to_pylist()) if column.kind == "datetime" else array
    return found


def answer_arrays(schema: ModelSchema, answers: Sequence[Any]) -> dict[str, pa.Array]:
    """Return an array for each prediction column; None among the answers is a missing one.

    Args:
        schema: The model's; without outputs in it the first answer says how many columns there are.
        answers: One for each row: a value, a list of values, or an object.
    """
    first = next((answer for answer in answers if answer is not None), None)
    if first is None:
        return {}
    outputs = schema.outputs or _outputs_like(first, schema)
    if isinstance(first, dict):
        keys = [column.name.removeprefix(f"{PREDICTION}[").removesuffix("]") for column in outputs]
        if len(outputs) == 1 and keys[0] not in first:
            keys = list(first)[:1] or keys
        cells = [[_of_object(answer, key) for answer in answers] for key in keys]
    else:
        cells = [[_of_list(answer, index) for answer in answers] for index in range(len(outputs))]
    return {column.name: from_values(each, column) for column, each in zip(outputs, cells, strict=True)}


def from_values(values: Sequence[Any], column: Column) -> pa.Array:
    """Return JSON values as an array of the column's type, of doubles, or of text: the first that holds them all."""
    import pyarrow as pa

    if column.kind == "datetime":
        return _as_times(values)
    found = packed(values, column)
    if found is not None:
        return found
    wanted = arrow_type(column)
    try:
        # Asked for whole numbers Arrow would cut the fractions off: it has to find out itself what they are.
        found = pa.array(values) if column.kind in {"long", "integer"} else pa.array(values, wanted)
        if pa.types.is_floating(found.type) or found.type == wanted:
            return found
        return found.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError):
        return _mixed(values, column)


def _mixed(values: Sequence[Any], column: Column) -> pa.Array:
    import pyarrow as pa

    if column.numeric and all(isinstance(value, int | float | None) for value in values):
        try:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        except OverflowError:
            pass
    return _texts([_text(value) for value in values])


def from_text(values: Sequence[str], column: Column) -> pa.Array:
    """Return CSV values as an array of the column's type, of doubles, or of text: the first that holds them all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    present = [None if value in _CSV_MISSING else value for value in values]
    if column.kind == "datetime":
        return _as_times(present)
    texts = _texts(present)
    wanted = arrow_type(column)
    for kind in (wanted, pa.float64()) if column.numeric else (wanted,):
        try:
            return pc.cast(texts, kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return texts


def batch_of(arrays: dict[str, pa.Array]) -> pa.RecordBatch:
    """Return arrays of one length as a batch."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays(list(arrays.values()), list(arrays))


def _as_times(values: Sequence[Any]) -> pa.Array:
    """Times as ISO text, or as milliseconds since 1970 as pandas writes them; one by one where Arrow reads not all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if all(value is None or type(value) is int for value in values):
            return pc.cast(pa.array(values, pa.int64()), pa.timestamp("ms")).cast(pa.timestamp("us"))
        texts = _texts([value.removesuffix("Z") if isinstance(value, str) else value for value in values])
        return pc.cast(texts, pa.timestamp("us"))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _times_or_texts(values)


def _times_or_texts(values: Sequence[Any]) -> pa.Array:
    """Times when all values are; else texts, as Arrow has no column of both: of a time its seconds since 1970.

    Those are what a profile reads. Anything else shall be a mismatch to it, so what looks like a number is quoted.
    """
    import pyarrow as pa

    found = [None if value is None else _micros(value) for value in values]
    if all(micros is not None or value is None for value, micros in zip(values, found, strict=True)):
        return pa.array(found, pa.int64()).cast(pa.timestamp("us"))
    pairs = zip(values, found, strict=True)
    return _texts([_no_number(_text(value)) if micros is None else repr(micros / 1e6) for value, micros in pairs])


def _no_number(text: str | None) -> str | None:
    try:
        return text if text is None or math.isnan(float(text)) else json.dumps(text)
    except ValueError:
        return text


def _micros(value: Any) -> int | None:
    """Microseconds since 1970 of what pandas would take for a time, nanoseconds cut off; None for anything else."""
    if type(value) is int:
        return value * 1000 if abs(value) < _MOST_MILLISECONDS else None
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def _texts(values: Sequence[Any]) -> pa.Array:
    """Texts as an array; raises Arrow's errors when something else is among them."""
    import pyarrow as pa

    found = packed(values, _TEXT)
    return pa.array(values, pa.string()) if found is None else found


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    return repr(value) if isinstance(value, int | float) else json.dumps(value)


def _of_list(answer: Any, index: int) -> Any:
    if isinstance(answer, list | tuple):
        return answer[index] if index < len(answer) else None
    return answer if index == 0 else None


def _of_object(answer: Any, key: str) -> Any:
    return answer.get(key) if isinstance(answer, dict) else None


def _outputs_like(answer: Any, schema: ModelSchema) -> tuple[Column, ...]:
    taken = [column.name for column in schema.inputs]
    if isinstance(answer, dict) and len(answer) > 1:
        return tuple(Column(f"{PREDICTION}[{key}]", _kind(value)) for key, value in answer.items())
    cells = list(answer.values()) if isinstance(answer, dict) else answer if isinstance(answer, list) else [answer]
    names = prediction_names(len(cells), taken)
    return tuple(Column(name, _kind(cell)) for name, cell in zip(names, cells, strict=True))


def _kind(value: Any) -> Any:
    return "string" if isinstance(value, str) else "boolean" if isinstance(value, bool) else "double"
