"""Functions of others, by name."""

from __future__ import annotations

import importlib
from typing import Any

from slipway_trainer.problem import TrainingError


def named(function: str) -> Any:
    """What ``module:name`` names.

    Raises:
        TrainingError: It cannot be imported here.
    """
    module, _, name = function.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrainingError(f"the function {function} cannot be imported: {error}") from error
