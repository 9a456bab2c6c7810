"""What every task and every reading of a DAG file imports, imported once by the process that they are forked from.

Airflow forks a process for each task (LocalExecutor) and for each DAG file that it reads. Each of them would import the
operators and boto3 anew, half a second of processor time a piece; forked from a process that has them, it finds them.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from airflow.listeners import hookimpl

_JOBS = "airflow.jobs.job"
_PACKAGES = ("operators", "sensors", "notifiers")


@hookimpl
def on_starting(component: Any) -> None:
    """Import the operators before a scheduler or a DAG processor forks anything.

    :param component: What starts: a job (of a kind that Airflow sets only later), or the mark of a task's process,
        which imports for itself what it needs.
    """
    if type(component).__module__ == _JOBS:
        import_operators()


def import_operators() -> None:
    """Import every module that the DAG files use, and boto3."""
    importlib.import_module("boto3")
    for name in _PACKAGES:
        package = importlib.import_module(f"slipway_airflow.{name}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
