"""Texts as Spark gives them, shortened, and what they mean."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pytest

from slipway_trainer.foreign import explain


class Py4JJavaError(Exception):
    """Has the name and the form of Py4J's."""


STAGE = "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 3.0 failed 4 times"
CALL = "An error occurred while calling o61.fit.\n: "


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            f"{CALL}{STAGE}, most recent failure: Lost task 0.3 in stage 3.0 (TID 9) (10.0.0.7 executor 3): "
            "ExecutorLostFailure (executor 3 exited caused by one of the running tasks) Reason: Command exited with "
            "code 137",
            "permanent",
            "ran out of memory",
        ),
        (
            f"{CALL}{STAGE}: ExecutorLostFailure (executor 1 exited) Reason: Container from a bad node. Exit code: 52",
            "permanent",
            "ran out of memory",
        ),
        (
            f"{CALL}{STAGE}: java.lang.OutOfMemoryError: Java heap space\n\tat java.base/Arrays",
            "permanent",
            "Java heap",
        ),
        (
            f"{CALL}{STAGE}: ExecutorLostFailure (executor 3 exited unrelated to the running tasks) Reason: Executor "
            "heartbeat timed out after 130000 ms",
            "unavailable",
            "heartbeat timed out",
        ),
        (
            f"{CALL}org.apache.spark.SparkException: All masters are unresponsive! Giving up.",
            "unavailable",
            "the Spark cluster, or a service that it needs, is gone",
        ),
        (
            f"{CALL}{STAGE}: org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
            "slipway_trainer.problem.BadDataError: s3://lake/a.csv was overwritten while this run was under way\n",
            "data",
            "s3://lake/a.csv was overwritten",
        ),
        (
            f"{CALL}{STAGE}: org.apache.spark.api.python.PythonException: Traceback (most recent call last):\n"
            "slipway_trainer.problem.UnavailableError: S3 does not give s3://lake/a.csv: timed out\n",
            "unavailable",
            "S3 does not give",
        ),
        (
            f"{CALL}{STAGE}: Lost task 0.0 in stage 1.0 (TID 1): java.lang.ArithmeticException: division by zero",
            "unknown",
            "ArithmeticException: division by zero",
        ),
    ],
)
def test_what_spark_says_is_understood(text, kind, words):
    found, message = explain(Py4JJavaError(text))
    assert found == kind
    assert words in message
    assert "\n" not in message


def test_the_reason_of_a_job_that_was_cancelled_is_told_as_it_was_given():
    reason = "slipway_trainer.problem.UnavailableError: the Spark master spark://one:7077 is gone"
    told = explain(Py4JJavaError(f"{CALL}{STAGE}: Job 7 cancelled {reason} SQLSTATE: XXKDA\n\tat somewhere"))
    assert told == ("unavailable", "the Spark master spark://one:7077 is gone")


def test_what_python_says_is_understood():
    assert explain(MemoryError())[0] == "permanent"
    assert explain(ConnectionError("[Errno 111] Connection refused"))[0] == "unavailable"
    assert explain(ValueError("too many\nlines")) == ("unknown", "ValueError: too many")
    assert len(explain(ValueError("x" * 10_000))[1]) < 600


class LostJavaError(Exception):
    """Has no text any more, as Py4J's errors when Java is gone."""

    def __str__(self) -> str:
        raise ConnectionRefusedError("[Errno 111] Connection refused")


@pytest.mark.parametrize(
    ("ends_with", "kind", "words"),
    [
        (52, "permanent", "ran out of memory (Spark's driver ended with code 52)"),
        (-9, "permanent", "ran out of memory (Spark's driver ended with code -9)"),
        (1, "unavailable", "Spark's driver ended with code 1"),
        (None, "unavailable", "is gone"),
    ],
)
def test_how_the_driver_ended_says_more_than_that_it_cannot_be_reached(ends_with, kind, words, monkeypatch):
    wait = "import time; time.sleep(60)" if ends_with in (None, -9) else f"raise SystemExit({ends_with})"
    driver = subprocess.Popen([sys.executable, "-c", wait])
    if ends_with == -9:
        driver.kill()
    context = SimpleNamespace(_gateway=SimpleNamespace(proc=driver))
    monkeypatch.setitem(sys.modules, "pyspark", SimpleNamespace(SparkContext=context))
    monkeypatch.setattr("slipway_trainer.foreign._DYING_SECONDS", 20.0 if ends_with is not None else 0.1)
    try:
        found, message = explain(LostJavaError())
    finally:
        driver.kill()
        driver.wait()
    assert found == kind
    assert words in message


def test_a_package_that_is_missing_where_the_training_runs_is_named_and_not_tried_again():
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.import_module("lightgbm_of_the_team.sklearn")
    kind, words = explain(missing.value)
    assert kind == "permanent"
    assert "'lightgbm_of_the_team'" in words
    assert "image" in words
