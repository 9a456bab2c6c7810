"""How moto is extended: named patch points that are checked when they are applied."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

#: Serialises every call into moto, whose backends have no locks of their own.
MOTO_LOCK = threading.RLock()


class PatchPointError(RuntimeError):
    """The pinned moto does not look as expected."""


def replace(owner: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Put ``function`` in the place of ``owner.name``.

    Returns:
        What was there before, for a patch that wraps it.

    Raises:
        PatchPointError: there is nothing of that name to replace.
    """
    try:
        original: Callable[..., Any] = getattr(owner, name)
    except AttributeError:
        raise PatchPointError(f"{owner!r} has no {name!r}: is moto still the pinned version?") from None
    setattr(owner, name, function)
    return original


def add_action(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Give a moto response class an API action that it lacks (moto finds actions by method name).

    Raises:
        PatchPointError: moto has that action by now.
    """
    if hasattr(owner, name):
        raise PatchPointError(f"{owner!r} has {name!r} already: use replace()")
    setattr(owner, name, function)
