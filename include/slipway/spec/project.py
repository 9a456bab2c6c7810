"""Where the project's own content is: services, platform settings, expectations, retrainers, hooks."""

from __future__ import annotations

import os
from pathlib import Path

from slipway.errors import InvalidInputError

PROJECT_VARIABLE = "SLIPWAY_PROJECT"


def project_dir() -> Path:
    """Return the project folder: ``SLIPWAY_PROJECT``, or the folder that holds this package in a checkout.

    Raises:
        InvalidInputError: the variable names no folder, or it is not set and the package is installed elsewhere.
    """
    named = os.environ.get(PROJECT_VARIABLE)
    if named:
        folder = Path(named).expanduser().absolute()
        if not folder.is_dir():
            raise InvalidInputError(
                f"{PROJECT_VARIABLE} is {named!r}, which is not a folder; make one with `slipway init {named}`"
            )
        return folder
    beside = Path(__file__).resolve().parents[2]
    if (beside / "services").is_dir():
        return beside
    raise InvalidInputError(
        f"there is no project folder: set {PROJECT_VARIABLE} to the folder that holds platform.yaml and services/, "
        "or make one with `slipway init DIR`"
    )
