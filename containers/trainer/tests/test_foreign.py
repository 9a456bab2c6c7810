"""Texts as Spark gives them, shortened, and what they mean."""

from __future__ import annotations

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


def test_what_python_says_is_understood():
    assert explain(MemoryError())[0] == "permanent"
    assert explain(ConnectionError("[Errno 111] Connection refused"))[0] == "unavailable"
    assert explain(ValueError("too many\nlines")) == ("unknown", "ValueError: too many")
    assert len(explain(ValueError("x" * 10_000))[1]) < 600
