"""Starting Spark, here or on a cluster, by configuration alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway_trainer.foreign import explain
from slipway_trainer.problem import TrainingError, UnavailableError
from slipway_trainer.progress import tell
from slipway_trainer.spark.connect import PROPERTY as CONNECT
from slipway_trainer.spark.connect import connect, hurry
from slipway_trainer.spark.java_home import find_java_home
from slipway_trainer.spark.watch import SCHEME, watch

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


#: The oldest Spark whose frames come and go as Arrow tables; and where EMR Serverless has it:
#: https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/release-version-emr-spark-8.0.0.html
_OLDEST_MAJOR = 4
_EMR_RELEASE = "emr-spark-8.0.0"


def start_session(
    name: str, *, cache_dir: Path, configuration: Mapping[str, str] | None = None, submitted: bool = False
) -> Any:
    """Start a Spark session.

    Args:
        name: Application name, shown by the cluster.
        cache_dir: Where a wrapper for Java may be written, see :func:`find_java_home`.
        configuration: Spark properties; ``spark.master`` names a cluster manager, ``spark.remote`` a server of Spark
            Connect. Without either, Spark runs on this machine, on all cores.
        submitted: spark-submit has started this process, with that configuration: nothing of it is set again.

    Returns:
        The session.

    Raises:
        UnavailableError: No cluster manager answers at that address.
        TrainingError: Something is missing that it would be found by.
    """
    if submitted:
        return _submitted_session(name)
    wanted = dict(configuration or {})
    if not is_local(wanted):
        _send_our_code()
    if CONNECT in wanted:
        return connect(name, {**_of_sessions(), **wanted})
    _require_yarn(wanted)
    os.environ["JAVA_HOME"] = str(find_java_home(cache_dir))
    # Spark 4.3 workers take python3 from the path otherwise, which has none of our packages. The property is read by
    # spark-submit alone, which does not start this process.
    os.environ["PYSPARK_PYTHON"] = wanted.get("spark.pyspark.python") or os.environ.get(
        "PYSPARK_PYTHON", sys.executable
    )
    if is_local(wanted):
        # Spark looks its own host's name up before it reads a property, and ends where nothing knows that name, as in
        # containers without a network.
        os.environ.setdefault("SPARK_LOCAL_IP", LOCAL_CONFIGURATION["spark.driver.host"])
    wanted = {**(LOCAL_CONFIGURATION if is_local(wanted) else _without_local_binding()), **wanted}
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    for key, value in wanted.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:
        kind, told = explain(error)
        if kind != "unavailable":
            raise
        where = wanted["spark.master"]
        raise UnavailableError(f"Spark does not start at {where}: {told}") from error
    if wanted["spark.master"].startswith(SCHEME):
        watch(session, wanted["spark.master"])
    return session


def stop_session(session: Any, persisted: Sequence[Any] = ()) -> None:
    """Stop Spark. A driver that has died cannot be stopped; that must not hide why it died.

    Args:
        session: What :func:`start_session` returned.
        persisted: Frames to let go of first.
    """
    try:
        hurry(session)
        for frame in persisted:
            frame.unpersist()
        session.stop()
    except Exception as error:  # noqa: BLE001  # Py4J has many for a connection that broke
        tell(f"Spark cannot be stopped, it has ended by itself: {type(error).__name__}")


def place_of(configuration: Mapping[str, str]) -> str:
    """Where Spark is to run, without what else the address may hold."""
    found = configuration.get(CONNECT) or configuration.get("spark.master", LOCAL_CONFIGURATION["spark.master"])
    return found.partition(";")[0]


def is_local(configuration: Mapping[str, str]) -> bool:
    """Whether Spark is to run on this machine alone, in processes that have our packages."""
    return CONNECT not in configuration and configuration.get("spark.master", "local").startswith("local")


def runs_here(session: Any) -> bool:
    """Whether a session runs on this machine alone, whoever began it."""
    if type(session).__module__.startswith("pyspark.sql.connect"):
        return False
    return str(session.sparkContext.master).startswith("local")


def _submitted_session(name: str) -> Any:
    """A session with what spark-submit was given. Of ours only what nobody has set, and what changes while it runs."""
    import pyspark
    from pyspark.sql import SparkSession

    if int(pyspark.__version__.partition(".")[0]) < _OLDEST_MAJOR:
        raise TrainingError(
            f"this Spark is {pyspark.__version__}; expected {_OLDEST_MAJOR}.0 or later, whose frames come and go as "
            f"Arrow tables. On EMR Serverless that is an application of release {_EMR_RELEASE} or later"
        )
    _send_our_code()
    session = SparkSession.builder.appName(name).getOrCreate()
    given = session.sparkContext.getConf()
    for key, value in _of_sessions().items():
        if not given.contains(key):
            session.conf.set(key, value)
    return session


def _require_yarn(configuration: Mapping[str, str]) -> None:
    """Without this, Java ends with the reason in the log alone."""
    names = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")
    if configuration.get("spark.master") == "yarn" and not any(os.environ.get(name) for name in names):
        raise TrainingError(
            "spark.master is yarn, and nothing says where YARN is: set HADOOP_CONF_DIR or YARN_CONF_DIR for Airflow's "
            "workers to a folder with yarn-site.xml and core-site.xml"
        )


def _send_our_code() -> None:
    """Let functions and classes of this package travel with what uses them: no cluster has to have it installed."""
    from pyspark import cloudpickle

    import slipway_trainer

    cloudpickle.register_pickle_by_value(slipway_trainer)


def _of_sessions() -> dict[str, str]:
    """What of our configuration a session may set that somebody else's server has begun."""
    return {key: value for key, value in LOCAL_CONFIGURATION.items() if key.startswith("spark.sql.")}


def _without_local_binding() -> dict[str, str]:
    return {key: value for key, value in LOCAL_CONFIGURATION.items() if "driver" not in key and key != "spark.master"}
