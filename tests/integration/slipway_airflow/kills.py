"""A task that is killed right after each of its changing AWS calls, and run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CHANGING = ("Add", "Create", "Delete", "Deregister", "Put", "Register", "Update")


class Killed(BaseException):
    """What ends a process that nobody asked."""


def run_with_kills(make: Callable[[], Any], context: Any, *, most: int = 40, then_spare: bool = False) -> int:
    """Execute an operator again and again, each time killed after its first changing call, until it gets through.

    :param make: Makes the operator anew, as a new process would.
    :param most: At most so many kills.
    :param then_spare: Whether the operator is left alone after that; else it has to be through by then.
    :return: How often it was killed.
    """
    for kills in range(most):
        operator = make()
        _kill_after_first_change(operator.hook)
        if operator.bucket.hook is not operator.hook:
            _kill_after_first_change(operator.bucket.hook)
        try:
            operator.execute(context)
        except Killed:
            continue
        return kills
    if then_spare:
        make().execute(context)
        return most
    raise AssertionError(f"still not through after {most} kills")


def _kill_after_first_change(hook: Any) -> None:
    def kill(model: Any, **_: Any) -> None:
        if model.name.startswith(CHANGING):
            raise Killed(model.name)

    for service in ("sagemaker", "s3", "ecr", "application-autoscaling", "cloudwatch"):
        hook.client(service).meta.events.register("after-call", kill)
