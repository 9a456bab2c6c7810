"""Spark Connect: a session on a server that somebody else runs, without a Java here."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from slipway_trainer.problem import TrainingError, UnavailableError

PROPERTY = "spark.remote"
DEFAULT_PORT = 15002  # https://spark.apache.org/docs/latest/spark-connect-overview.html
_ANSWER_SECONDS = 10.0
#: Of one call to a server that has gone: with PySpark's pauses (50 ms, four times as long each time) about 70 s.
_MAX_RETRIES = 6


def connect(name: str, configuration: Mapping[str, str]) -> Any:
    """Begin a session.

    Args:
        name: Application name.
        configuration: Spark properties; ``spark.remote`` is the server's address, the others are set on the session.

    Raises:
        UnavailableError: No server answers at that address.
        TrainingError: A package that the client needs is missing.
    """
    address = configuration[PROPERTY]
    where = address.partition(";")[0]
    _require_answer(where)
    try:
        from pyspark.sql import SparkSession
        from pyspark.sql.connect.client.retries import DefaultPolicy
    except ImportError as error:
        raise TrainingError(
            f"Spark Connect needs packages that are not here: pip install 'pyspark[connect]' ({error})"
        ) from error
    builder = SparkSession.builder.remote(address).appName(name)
    for key, value in configuration.items():
        if key != PROPERTY:
            builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.client.set_retry_policies([DefaultPolicy(max_retries=_MAX_RETRIES)])
    return session


def hurry(session: Any) -> None:
    """Have a session's last calls tried once: each of them would be tried again for as long, if the server is gone."""
    if type(session).__module__.startswith("pyspark.sql.connect"):
        session.client.set_retry_policies([])


def _require_answer(where: str) -> None:
    """PySpark itself asks for ten minutes before it says that nobody answers."""
    parts = urlsplit(where)
    if parts.scheme != "sc" or not parts.hostname:
        raise TrainingError(
            f"{PROPERTY} is {where!r}; expected an address such as sc://spark.example.com:{DEFAULT_PORT}"
        )
    try:
        with socket.create_connection((parts.hostname, parts.port or DEFAULT_PORT), _ANSWER_SECONDS):
            pass
    except OSError as error:
        raise UnavailableError(f"Spark does not start at {where}: no Spark Connect server answers ({error})") from error
