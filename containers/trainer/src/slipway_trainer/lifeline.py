"""This process and what it starts end when the process that started it ends, however that one is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

_PR_SET_PDEATHSIG = 1


def hold(parent: int | None) -> None:
    """Lead a process group of its own, and end it on SIGTERM or when the parent dies (Linux, prctl(2)).

    Args:
        parent: Process id of the parent as it knows itself; None to be nobody's child, as in a container. When the
            parent died before the signal was asked for, the process ends here.
    """
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, _end_group)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the process that started this training has ended")


def _end_group(number: int, _frame: FrameType | None) -> None:
    """Kill the group at once: a JVM in the middle of a job does not listen to anything milder in time."""
    os.killpg(0, signal.SIGKILL)
    # Only the first process of a container gets here: nothing inside of it can kill that one (pid_namespaces(7)).
    os._exit(128 + number)
