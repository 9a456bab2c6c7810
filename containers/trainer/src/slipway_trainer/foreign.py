"""What an error of a library means: is it the data, the memory, the cluster, or nobody knows what?

Spark tells most things by text alone: a failure in a task arrives as a Java exception that quotes the executor's, and a
Python exception of a task as text within that.
"""

from __future__ import annotations

import re
import subprocess
import sys

#: Exit codes of executors that ran out of memory: 137 is SIGKILL by the kernel or the container, 52 is Spark's own
#: (org.apache.spark.util.SparkExitCode.OOM).
_NO_MEMORY = re.compile(
    r"OutOfMemoryError|OOMKilled|(?i:(?:exit|exited with|with) (?:code|status):? (?:137|52)\b)|"
    r"exceeding (?:physical |virtual )?memory limits|Cannot allocate memory"
)
#: The same of Spark's driver, a Java process beside this one: 52, or killed from outside, as the kernel does.
_NO_MEMORY_CODES = {52, 137, -9}
_DYING_SECONDS = 20.0  # a driver that dies first ends its own hooks
_CLUSTER_GONE = re.compile(
    r"All masters are unresponsive|Master removed our application|SparkContext was (?:shut down|stopped)|"
    r"stopped SparkContext|SparkContext has been shutdown|ExecutorLostFailure|Worker lost|Spark cluster looks down|"
    r"Connection refused|Connection reset|StatusCode\.UNAVAILABLE|Answer from Java side is empty|"
    r"Error while (?:sending or receiving|receiving)"
)
_OF_OURS = re.compile(r"slipway_trainer\.problem\.(BadDataError|TrainingError|UnavailableError): (.+)")
_SQLSTATE = re.compile(r" SQLSTATE: \w+$")  # added by Spark to the reason of a job that was cancelled
_KINDS = {"BadDataError": "data", "TrainingError": "permanent", "UnavailableError": "unavailable"}
_TELLING = re.compile(r"\b[\w.$]*(?:Exception|Error|Failure)\b")
_MAX_CHARACTERS = 500
_MORE_MEMORY = "give the driver or the executors more: spark.driver.memory, spark.executor.memory"


def explain(error: Exception) -> tuple[str, str]:
    """Say what kind of failure an exception is, and what to tell people.

    Args:
        error: What a library raised.

    Returns:
        ``data``, ``permanent``, ``unavailable`` or ``unknown``, and the message.
    """
    text = f"{type(error).__name__}: {_told(error)}"
    ours = _OF_OURS.search(text)
    if ours:
        return _KINDS[ours[1]], _SQLSTATE.sub("", ours[2].strip())
    if isinstance(error, ModuleNotFoundError):
        return "permanent", (
            f"the training needs the package {str(error.name).partition('.')[0]!r}, which is not installed where it "
            "runs: beside the task that is the worker's environment, elsewhere the trainer's image or archive"
        )
    if isinstance(error, MemoryError) or _NO_MEMORY.search(text):
        telling = _line_with(_NO_MEMORY, text)
        return "permanent", f"the training ran out of memory ({telling}); {_MORE_MEMORY}"
    gone = _CLUSTER_GONE.search(text)
    ended = _driver_end(_DYING_SECONDS if gone or "py4j" in text.lower() else 0.0)
    if ended in _NO_MEMORY_CODES:
        return "permanent", f"the training ran out of memory (Spark's driver ended with code {ended}); {_MORE_MEMORY}"
    if ended is not None:
        return "unavailable", f"Spark's driver ended with code {ended}; its last lines are in the log"
    if gone:
        return (
            "unavailable",
            f"the Spark cluster, or a service that it needs, is gone ({_line_with(_CLUSTER_GONE, text)})",
        )
    return "unknown", _line_with(_TELLING, text.partition(": ")[2]) if "Py4J" in text else _first(text)


def _told(error: Exception) -> str:
    """The exception's text. Py4J asks the Java process for it, and cannot when that is gone."""
    try:
        return str(error)
    except Exception as lost:  # noqa: BLE001  # whatever Py4J makes of a broken connection
        return f"{lost} (Py4J has lost Java's own words)"


def _driver_end(seconds: float) -> int | None:
    """Exit code of the Java process that runs Spark's driver; None when there is none, or it lives.

    Args:
        seconds: How long to wait for its end.
    """
    context = getattr(sys.modules.get("pyspark"), "SparkContext", None)
    process = getattr(getattr(context, "_gateway", None), "proc", None)
    if process is None:
        return None
    try:
        return int(process.wait(seconds))
    except subprocess.TimeoutExpired:
        return None


def _line_with(pattern: re.Pattern[str], text: str) -> str:
    """The first line in which the pattern is found; else the first one."""
    found = next((line for line in text.splitlines() if pattern.search(line)), "")
    return _short(found.lstrip(": ")) or _first(text)


def _first(text: str) -> str:
    return _short(next((line for line in text.splitlines() if line.strip()), ""))


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]} …"
