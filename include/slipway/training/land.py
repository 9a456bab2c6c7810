"""Landing what is new in a table of a database."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from slipway.errors import InvalidInputError
from slipway.training.database import FETCHED_ROWS, DatabaseTable, arrow_table
from slipway.training.fresh_rows import FreshRows, pack
from slipway.training.landing import Cursor, LandingStore, Part
from slipway.training.mark import Mark

if TYPE_CHECKING:
    import pyarrow as pa

Item = TypeVar("Item")
#: Lists of :data:`FETCHED_ROWS` rows that make one object.
_FETCHES_AN_OBJECT = 8


def land(table: DatabaseTable, store: LandingStore, *, source: str, column: str, late_within: float) -> Cursor:
    """Land the rows that were not landed before, and let the reading count.

    Args:
        table: The table.
        store: Where its rows go.
        source: Names table and column; the cursor of another source is not gone on with.
        column: Column that only grows.
        late_within: How far below the highest value rows may still appear, see :meth:`Mark.floor`.

    Returns:
        The cursor afterwards.

    Raises:
        InvalidInputError: The table cannot be read by this column.
        DatabaseUnavailableError: The database does not answer.
        StateConflictError: Somebody else landed meanwhile.
    """
    table.check()
    cursor, etag = store.read(source)
    floor = cursor.through.floor(late_within) if cursor.through else None
    highest = table.extent(floor).highest
    if highest is None:
        return cursor
    try:
        wanted = _read(table, store, cursor, column, (floor, highest), late_within)
    except TypeError as error:
        raise InvalidInputError(
            f"{source}: values of {column!r} cannot be compared with one another: {error}"
        ) from error
    if wanted != cursor:
        store.commit(wanted, etag)
    return wanted


def _read(
    table: DatabaseTable,
    store: LandingStore,
    cursor: Cursor,
    column: str,
    bounds: tuple[Mark | None, Mark],
    late_within: float,
) -> Cursor:
    through = cursor.through.value if cursor.through else None
    reached = cursor.through if cursor.through and bounds[1].value < through else bounds[1]
    number = cursor.readings + 1
    with table.rows(*bounds) as (columns, rows):
        floor = reached.floor(late_within).value
        fresh = FreshRows(columns, column, through, store.tail(cursor), cursor.columns, floor)
        parts = [
            Part(store.put(number, place, _parquet(found), "parquet"), found.num_rows)
            for place, found in enumerate(_tables(columns, fresh.choose(rows)))
        ]
    tail = pack(fresh.remembered)
    if not parts and reached == cursor.through and tail == pack(store.tail(cursor)):
        return cursor
    return replace(
        cursor,
        through=reached,
        tail=store.put(number, 0, tail, "tail").key,
        tail_rows=fresh.remembered.total(),
        columns=tuple(columns),
        readings=number,
        landed=(*cursor.landed, *parts),
    )


def _tables(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[pa.Table]:
    """The rows in tables of a size that one object should have; those that do not fit together stay apart."""
    import pyarrow as pa

    fetched = (arrow_table(columns, each) for each in _in_lists(rows, FETCHED_ROWS))
    for group in _in_lists(fetched, _FETCHES_AN_OBJECT):
        try:
            yield pa.concat_tables(group, promote_options="permissive")
        except pa.ArrowTypeError:
            yield from group


def _in_lists(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    found: list[Item] = []
    for item in items:
        found.append(item)
        if len(found) == size:
            yield found
            found = []
    if found:
        yield found


def _parquet(table: pa.Table) -> bytes:
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()
