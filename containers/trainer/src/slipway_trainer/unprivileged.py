"""Giving up root in a container.

SageMaker's folders for output belong to root, so a container that starts as another user cannot write its results (as
https://github.com/aws/sagemaker-python-sdk/pull/4325 found). The image therefore starts as root, makes these folders
writable and goes on as the user that its variable ``SLIPWAY_RUN_AS`` names, before anything of the job is read or run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slipway_trainer.problem import TrainingError
from slipway_trainer.progress import tell

VARIABLE = "SLIPWAY_RUN_AS"


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
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    except OSError as error:
        raise TrainingError(
            f"cannot become user {user}: {error.strerror}; unset {VARIABLE} to go on as root"
        ) from error
    tell(f"going on as user {user}")
