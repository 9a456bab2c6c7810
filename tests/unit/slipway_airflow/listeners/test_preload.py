from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from airflow.jobs.job import Job
from airflow.sdk.execution_time.task_runner import TaskRunnerMarker
from slipway_airflow.listeners import preload

def operators():
    return sorted(name for name in sys.modules if name.startswith("slipway_airflow.operators."))

preload.on_starting(TaskRunnerMarker())
print(len(operators()))
preload.on_starting(Job.__new__(Job))  # as Airflow calls it: before the job knows its kind
print(len(operators()), "boto3" in sys.modules)
print("heavy:", *sorted({"mlflow", "pyspark", "pandas", "sklearn", "great_expectations"} & set(sys.modules)))
"""


def test_a_job_imports_the_operators_and_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, after, heavy = done.stdout.splitlines()[-3:]  # Airflow prints what it read as configuration
    assert before == "0"
    assert int(after.split()[0]) > 20
    assert after.endswith("True")
    assert heavy == "heavy:"


def test_it_is_registered() -> None:
    from slipway_airflow.listeners import preload
    from slipway_plugin import SlipwayPlugin

    assert preload in SlipwayPlugin.listeners
