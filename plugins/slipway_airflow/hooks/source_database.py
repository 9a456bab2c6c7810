"""The database that training rows come from, through an Airflow connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from slipway.errors import InvalidInputError
from slipway.training.database import DatabaseTable

if TYPE_CHECKING:
    from slipway.spec.retrain import JdbcSpec


def source_name(jdbc: JdbcSpec) -> str:
    """Name table and column; what was read of another one does not count."""
    return f"{jdbc.connection}/{jdbc.table}/{jdbc.watermark_column}"


def source_table(jdbc: JdbcSpec) -> DatabaseTable:
    """Open the table that a spec names.

    :param jdbc: Connection, table and watermark column.
    :raises InvalidInputError: There is no such connection, it is of no database, or its provider is not installed.
    """
    named = f"connection {jdbc.connection!r}"
    try:
        hook: Any = BaseHook.get_hook(jdbc.connection)
    except AirflowNotFoundException:
        raise InvalidInputError(f"There is no {named}; add it in Airflow, or change retrain.data.jdbc.") from None
    except AirflowException as error:
        raise InvalidInputError(
            f"{named}: {error}; install the provider package of its type, such as apache-airflow-providers-postgres."
        ) from error
    if not hasattr(hook, "get_sqlalchemy_engine"):
        raise InvalidInputError(f"{named} is of type {hook.conn_type!r}; expected one of an SQL database.")
    return DatabaseTable(hook.get_sqlalchemy_engine(), jdbc.table, jdbc.watermark_column, f"{jdbc.table} of {named}")
