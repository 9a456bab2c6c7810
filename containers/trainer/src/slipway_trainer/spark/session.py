"""Starting Spark, here or on a cluster, by configuration alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway_trainer.foreign import explain
from slipway_trainer.problem import UnavailableError
from slipway_trainer.progress import tell
from slipway_trainer.spark.java_home import find_java_home

#: What a driver on one machine needs; a service's own configuration goes over it.
LOCAL_CONFIGURATION: Mapping[str, str] = {
    "spark.master": "local[*]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.log.level": "ERROR",
}


def start_session(name: str, *, cache_dir: Path, configuration: Mapping[str, str] | None = None) -> Any:
    """Start a Spark session.

    Args:
        name: Application name, shown by the cluster.
        cache_dir: Where a wrapper for Java may be written, see :func:`find_java_home`.
        configuration: Spark properties; ``spark.master`` names a cluster manager. Without it, Spark runs in this
            process on all cores.

    Returns:
        The session.

    Raises:
        UnavailableError: No cluster manager answers at that address.
    """
    wanted = dict(configuration or {})
    os.environ["JAVA_HOME"] = str(find_java_home(cache_dir))
    # Spark 4.3 workers take python3 from the path otherwise, which has none of our packages.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if not wanted.get("spark.master", "local").startswith("local"):
        wanted = {**_without_local_binding(), **wanted}
    else:
        wanted = {**LOCAL_CONFIGURATION, **wanted}
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    for key, value in wanted.items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except Exception as error:
        kind, told = explain(error)
        if kind != "unavailable":
            raise
        where = wanted["spark.master"]
        raise UnavailableError(f"Spark does not start at {where}: {told}") from error


def stop_session(session: Any, persisted: Sequence[Any] = ()) -> None:
    """Stop Spark. A driver that has died cannot be stopped; that must not hide why it died.

    Args:
        session: What :func:`start_session` returned.
        persisted: Frames to let go of first.
    """
    try:
        for frame in persisted:
            frame.unpersist()
        session.stop()
    except Exception as error:  # noqa: BLE001  # Py4J has many for a connection that broke
        tell(f"Spark cannot be stopped, it has ended by itself: {type(error).__name__}")


def _without_local_binding() -> dict[str, str]:
    return {key: value for key, value in LOCAL_CONFIGURATION.items() if "driver" not in key and key != "spark.master"}
