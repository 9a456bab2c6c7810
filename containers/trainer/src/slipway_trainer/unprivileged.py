"""Giving up root in a container.

SageMaker's folders for output belong to root, so a container that starts as another user cannot write its results (as
https://github.com/aws/sagemaker-python-sdk/pull/4325 found). The image therefore starts as root, makes these folders
writable and goes on as the user that its variable ``SLIPWAY_RUN_AS`` names, before anything of the job is read or run.

That user gets a name if the image gives it none: Java asks the system for the name, and Hadoop, and with it Spark, does
not start for a user without one (Spark's own images do likewise: https://github.com/apache/spark-docker/pull/45).
"""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slipway_trainer.problem import TrainingError
from slipway_trainer.progress import tell

VARIABLE = "SLIPWAY_RUN_AS"
PASSWD = Path("/etc/passwd")
_NAME = "slipway"


def give_up_root(writable: Sequence[Path]) -> None:
    """Go on as the user of ``SLIPWAY_RUN_AS``; nothing happens without the variable or when this is not root.

    Args:
        writable: Folders that this user has to write to; made if need be, and given to it.

    Raises:
        TrainingError: The variable is no user id, or the container may not change its user.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted or os.geteuid() != 0:
        return
    if not wanted.isdigit() or int(wanted) == 0:
        raise TrainingError(f"{VARIABLE} is {wanted!r}; expected the number of a user other than root")
    user = int(wanted)
    try:
        for folder in writable:
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, user, user)
        Path(tempfile.gettempdir()).chmod(0o1777)  # as it is on other systems; SageMaker's may be root's alone
        _give_name(user)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    except OSError as error:
        raise TrainingError(
            f"cannot become user {user}: {error.strerror}; unset {VARIABLE} to go on as root"
        ) from error
    tell(f"going on as user {user}")


def _give_name(user: int) -> None:
    """Enter the user where the system looks for names, unless it has one; only Spark needs it."""
    if _has_name(user):
        return
    line = f"{_NAME}:x:{user}:{user}::{os.environ.get('HOME', '/')}:/bin/false\n"
    try:
        unended = PASSWD.exists() and not PASSWD.read_text().endswith("\n")
        with PASSWD.open("a") as file:
            file.write(f"\n{line}" if unended else line)
        PASSWD.chmod(0o644)
    except OSError as error:
        tell(f"user {user} has no name and {PASSWD} cannot be written ({error.strerror}): Spark will not start")


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True
