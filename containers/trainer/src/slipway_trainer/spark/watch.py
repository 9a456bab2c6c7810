"""A Spark job without executors waits for ever, also when the master that could start some is gone: it is ended here.

A standalone master that is lost alone does no harm: executors that run go on, and the job ends well
(https://spark.apache.org/docs/latest/spark-standalone.html#high-availability). Only without both there is no way on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from slipway_trainer.progress import tell

SCHEME = "spark://"
_LOOK_SECONDS = 5.0
#: A master that is started again within this time is waited for.
_GONE_SECONDS = 30.0
_TELL_SECONDS = 60.0
_ANSWER_SECONDS = 5.0


def watch(session: Any, master: str) -> threading.Thread:
    """Watch a standalone cluster for as long as this process lives.

    Args:
        session: The session.
        master: Its master's address, such as ``spark://one:7077,two:7077``.
    """
    thread = threading.Thread(target=_watch, args=(session.sparkContext._jsc.sc(), master), daemon=True)
    thread.start()
    return thread


def verdict(executors: int, answers: Callable[[], bool], lonely: float, gone: float) -> tuple[float, float, str]:
    """What one look means.

    Args:
        executors: How many there are.
        answers: Asks the master.
        lonely: Seconds without an executor so far, with those since the last look.
        gone: Seconds without an answer of the master as well.

    Returns:
        The seconds to go on with, and what is to be done: ``""``, ``"tell"`` or ``"end"``.
    """
    if executors:
        return 0.0, 0.0, ""
    if not answers():
        return lonely, gone, "end" if gone >= _GONE_SECONDS else ""
    return (0.0, 0.0, "tell") if lonely >= _TELL_SECONDS else (lonely, 0.0, "")


def _watch(context: Any, master: str) -> None:
    lonely = gone = 0.0
    seen = time.monotonic()
    while not context.isStopped():
        time.sleep(_LOOK_SECONDS)
        passed, seen = time.monotonic() - seen, time.monotonic()
        executors = context.getExecutorMemoryStatus().size() - 1  # the driver is one of them
        lonely, gone, wanted = verdict(executors, lambda: _answers(master), lonely + passed, gone + passed)
        if wanted == "tell":
            tell(f"{master} gives this job no executor; is there a worker with that much memory and cores free?")
        elif wanted == "end":
            _end(context, master)


def _answers(master: str) -> bool:
    for each in master.removeprefix(SCHEME).split(","):
        host, _, port = each.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), _ANSWER_SECONDS):
                return True
        except (OSError, ValueError):
            continue
    return False


def _end(context: Any, master: str) -> None:
    """Cancel what runs; the reason is read where errors of Spark are explained."""
    reason = (
        f"slipway_trainer.problem.UnavailableError: the Spark master {master} is gone, and no executor is left: "
        "nothing was registered"
    )
    for number in context.statusTracker().getActiveJobIds():
        context.cancelJob(number, reason)
