"""Reading a table of a database in the order of its watermark column, a part at a time.

Works on any SQLAlchemy engine: names are quoted and values bound by the database's own dialect, and rows are streamed
where the driver can.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from slipway.errors import DatabaseUnavailableError, InvalidInputError
from slipway.training.mark import Mark

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection, Engine

FETCHED_ROWS = 50_000


@dataclass(frozen=True)
class Extent:
    """What lies in a table from a value on.

    Args:
        rows: Number of rows.
        highest: Highest value of the watermark column; None without rows.
    """

    rows: int
    highest: Mark | None


class DatabaseTable:
    """A table or view.

    Args:
        engine: SQLAlchemy engine of the database.
        name: ``table`` or ``schema.table``.
        watermark_column: Column that only grows.
        where: How the source is named in messages.
    """

    def __init__(self, engine: Engine, name: str, watermark_column: str, where: str) -> None:
        import sqlalchemy as sa

        self._engine = engine
        self._where = where
        schema, _, table = name.rpartition(".")
        self._schema, self._name = schema or None, table
        self._column_name = watermark_column
        self._table = sa.table(table, schema=self._schema)
        self._column: Any = sa.column(watermark_column)

    def check(self) -> None:
        """Look whether the table is there and can be read by its watermark.

        Raises:
            InvalidInputError: There is no such table or column, or rows have no watermark.
            DatabaseUnavailableError: The database does not answer.
        """
        import sqlalchemy as sa

        with self._asked() as connection:
            inspector = sa.inspect(connection)
            try:
                columns = [str(each["name"]) for each in inspector.get_columns(self._name, self._schema)]
            except sa.exc.NoSuchTableError:
                raise InvalidInputError(f"{self._where}: there is no such table") from None
            if self._column_name not in columns:
                raise InvalidInputError(
                    f"{self._where}: there is no column {self._column_name!r}; there are {', '.join(columns[:30])}"
                )
            without = connection.scalar(self._counted().where(self._column.is_(None)))
        if without:
            raise InvalidInputError(
                f"{self._where}: {without} rows have no {self._column_name!r}, so nothing says whether they are new. "
                "Fill it in, or name a view that leaves them out"
            )

    def extent(self, floor: Mark | None) -> Extent:
        """Rows from a value on.

        Args:
            floor: The lowest value; None for all rows.
        """
        import sqlalchemy as sa

        wanted = self._from(sa.select(sa.func.count(), sa.func.max(self._column)).select_from(self._table), floor)
        with self._asked() as connection:
            rows, highest = connection.execute(wanted).one()
        return Extent(int(rows), None if highest is None else Mark.of(highest))

    @contextlib.contextmanager
    def rows(self, floor: Mark | None, highest: Mark) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
        """The names of the columns and the rows from ``floor`` to ``highest``, both included, in that order."""
        import sqlalchemy as sa

        wanted = self._from(sa.select(sa.literal_column("*")).select_from(self._table), floor)
        wanted = wanted.where(self._column <= highest.value).order_by(self._column)
        with self._asked() as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=FETCHED_ROWS)
            result = streaming.execute(wanted)
            yield list(result.keys()), iter(result)

    def _counted(self) -> Any:
        import sqlalchemy as sa

        return sa.select(sa.func.count()).select_from(self._table)

    def _from(self, wanted: Any, floor: Mark | None) -> Any:
        return wanted if floor is None else wanted.where(self._column >= floor.value)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[Connection]:
        import sqlalchemy as sa

        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.ProgrammingError as error:
            raise InvalidInputError(f"{self._where}: the database refuses: {error.orig}") from error
        except sa.exc.SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise DatabaseUnavailableError(f"{self._where}: the database does not answer: {said}") from error


def arrow_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Rows as an Arrow table.

    Decimals become floating point numbers, identifiers and documents become text; a column that mixes kinds becomes
    text, so that the validation can say what is wrong with it.

    Args:
        columns: Names.
        rows: At least one row.
    """
    import pyarrow as pa

    made = {}
    for name, values in zip(columns, zip(*rows, strict=True), strict=True):
        plain = [_plain(each) for each in values]
        try:
            made[name] = pa.array(plain)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            made[name] = pa.array([None if each is None else str(each) for each in plain])
    return pa.table(made)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    return bytes(value) if isinstance(value, memoryview | bytearray) else value
