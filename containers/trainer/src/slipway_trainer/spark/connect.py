"""Spark Connect: a session on a server that somebody else runs, without a Java here.

The classes of ``pyspark.ml`` are the same; MLflow's own way to save and load them is not to be had, because it asks the
driver's Java machine.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from slipway_trainer.problem import TrainingError, UnavailableError
from slipway_trainer.spark.shared import SharedFolder

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


def is_connected(session: Any) -> bool:
    """Whether a session is one of Spark Connect."""
    return type(session).__module__.startswith("pyspark.sql.connect")


def flavor(shared: SharedFolder) -> Any:
    """What ``mlflow.models.Model.log`` needs in place of ``mlflow.spark``: the same files, saved without Java here."""

    def save_model(
        spark_model: Any, path: str, mlflow_model: Any, validate_serving_input: bool = False, **given: Any
    ) -> None:
        import mlflow.spark

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        shared.save(spark_model, folder / "sparkml")
        mlflow.spark._save_model_metadata(
            dst_dir=path, spark_model=spark_model, mlflow_model=mlflow_model, conda_env=None, code_paths=None, **given
        )

    return SimpleNamespace(__name__="mlflow.spark", FLAVOR_NAME="spark", save_model=save_model)


def pyfunc_model(session: Any, saved: Any, fitted: Any) -> Any:
    """The model as ``mlflow.pyfunc`` has it, over this session.

    Args:
        session: The session.
        saved: Its ``SavedModel``.
        fitted: The pipeline that was loaded of it.
    """
    import mlflow.spark
    from mlflow.pyfunc import PyFuncModel

    return PyFuncModel(saved.info, mlflow.spark._PyFuncModelWrapper(session, fitted, saved.info.signature))


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
